/** Keeps what was refused, with the reason beside it, for a builder's admin to look at; bounded in age, size and number, the oldest goes first. */
import { lstat, opendir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { QuarantineLimits } from '../config/quota-schema.ts';
import { errnoOf } from '../errors.ts';
import type { BatchStore, Reason } from '../store/batches.ts';
import type { Clock } from '../system/clock.ts';
import { toInstant } from '../system/instant.ts';
import { makeDirectoryDurable, writeFileDurable } from '../system/durable.ts';
import { Mutex } from '../system/limit.ts';
import { escapeJson } from '../system/log.ts';
import { removeTree } from '../system/remove-tree.ts';
import type { Candidate } from './candidate.ts';

export interface RejectedBatch {
  readonly id: string;
  readonly builder: string;
  readonly reasons: readonly Reason[];
  readonly candidates: readonly Candidate[];
}

export interface QuarantineDeps {
  readonly root: string;
  readonly batches: BatchStore;
  readonly limits: () => QuarantineLimits;
  readonly clock: Clock;
}

const reasonFile = 'reason.json';
/** How the ids of batches begin; whatever else somebody puts there is left alone. */
const batchId = /^\d{8}T\d{6}-/;

export class Quarantine {
  readonly #deps: QuarantineDeps;
  readonly #mutex = new Mutex();
  /** Bytes on the disk by id, as far as they were counted; what is kept is only ever changed here. */
  readonly #bytes = new Map<string, number>();

  constructor(deps: QuarantineDeps) {
    this.#deps = deps;
  }

  /** Writes `quarantine/<id>/reason.json` and moves the private copies beside it, under their repositories' paths. */
  async keep(batch: RejectedBatch): Promise<void> {
    await this.#mutex.run(async () => {
      const directory = this.#path(batch.id);
      const rejectedAt = toInstant(this.#deps.clock.now());
      const reason = { id: batch.id, builder: batch.builder, rejected_at: rejectedAt, reasons: batch.reasons };
      this.#bytes.delete(batch.id);
      await makeDirectoryDurable(directory, 0o750);
      const text = escapeJson(JSON.stringify(reason, null, 1), { lines: true });
      await writeFileDurable(join(directory, reasonFile), `${text}\n`, { mode: 0o640 });
      for (const candidate of batch.candidates) await candidate.quarantine(directory);
    });
    await this.prune();
  }

  /** Where the files of a refused batch are kept, and until when unless room or number run out; null: they are not. */
  async find(id: string): Promise<{ readonly path: string; readonly untilMs: number } | null> {
    if (!batchId.test(id) || id.includes('/')) return null;
    try {
      return { path: this.#path(id), untilMs: (await this.#changedAt(id)) + this.#deps.limits().keepMs };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null;
      throw error;
    }
  }

  /** Removes what is too old or too much, and the history of refused batches with it. Returns how many batches went. */
  async prune(): Promise<number> {
    return this.#mutex.run(async () => {
      const { batches, clock, limits } = this.#deps;
      const { keepMs, maxBytes, maxBatches } = limits();
      batches.forgetRefused(clock.now() - keepMs, maxBatches);
      const ids = (await this.#names()).filter((name) => batchId.test(name)).sort();
      let total = 0;
      for (const id of ids) total += await this.#bytesOf(id);
      let removed = 0;
      for (const [index, id] of ids.entries()) {
        const left = ids.length - index;
        const old = clock.now() - (await this.#changedAt(id)) >= keepMs;
        if (!old && left <= maxBatches && total <= maxBytes) continue;
        total -= await this.#bytesOf(id);
        removed++;
        // Why the newest one was refused is told even when its files are too large to be kept.
        if (left === 1 && !old) await this.#strip(id);
        else await removeTree(this.#path(id));
        this.#bytes.delete(id);
      }
      return removed;
    });
  }

  #path(id: string): string {
    return join(this.#deps.root, 'quarantine', id);
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(join(this.#deps.root, 'quarantine'));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  async #changedAt(id: string): Promise<number> {
    return (await lstat(this.#path(id))).mtimeMs;
  }

  async #bytesOf(id: string): Promise<number> {
    const known = this.#bytes.get(id);
    if (known !== undefined) return known;
    const bytes = await bytesOnDisk(this.#path(id));
    this.#bytes.set(id, bytes);
    return bytes;
  }

  async #strip(id: string): Promise<void> {
    for (const name of await readdir(this.#path(id)))
      if (name !== reasonFile) await removeTree(join(this.#path(id), name));
  }
}

async function bytesOnDisk(path: string): Promise<number> {
  const facts = await lstat(path);
  let bytes = facts.blocks * 512;
  if (facts.isDirectory())
    for await (const entry of await opendir(path)) bytes += await bytesOnDisk(join(path, entry.name));
  return bytes;
}
