/** Compares what a mirror holds with what it was confirmed to hold, and has its worker mend the differences between pushes. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { MirrorConfig } from '../config/mirror-schema.ts';
import { errnoOf, messageOf, TransportError } from '../errors.ts';
import type { MirrorScrub } from '../observe/scrub.ts';
import type { Publisher } from '../publish/publisher.ts';
import { createTransport } from '../replicate/connect.ts';
import { filesOf, indexFilesOf, isOfKilledRsync, leftOverIn, planComparison } from '../replicate/plan.ts';
import type { PushFile, RemoteFile, Transport } from '../replicate/transport.ts';
import type { MirrorWorker } from '../replicate/worker.ts';
import type { Store } from '../store/store.ts';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';
import { download } from '../system/download.ts';
import type { Log } from '../system/log.ts';
import { hashFile, type Pace } from '../system/read-paced.ts';
import { urlOf } from './scrub-sources.ts';

export interface MirrorScrubDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly graceMs: number;
}

export interface MirrorScrubOptions {
  /** True: only left-over temporary files are looked for. */
  readonly temporaryOnly: boolean;
  /** Packages whose content is read; null: all. */
  readonly sample: number | null;
  readonly pace: Pace;
  readonly onProgress: (result: MirrorScrub) => void;
}

export interface ScrubbedMirror {
  readonly config: MirrorConfig;
  readonly worker: MirrorWorker;
}

type Result = { -readonly [K in keyof MirrorScrub]: MirrorScrub[K] };
type Sampled = PushFile & { readonly sha256: string };

/** A mirror that is not in step for so long is left to its pushes. */
const settleMs = 60_000;
const settlePollMs = 200;
const listTries = 5;
/** Files that are mended at once: a push that becomes due waits for no more than these. */
const pieceFiles = 32;
const pieceBytes = 8 * 1024 * 1024;
const stallMs = 30_000;
const foreignShown = 20;
const dayMs = 86_400_000;

/** Works beside the pushes on a connection of its own; only removing and mending take a turn of the worker. Rejects only once aborted. */
export async function scrubMirror(
  { config, worker }: ScrubbedMirror,
  deps: MirrorScrubDeps,
  options: MirrorScrubOptions,
  signal: AbortSignal,
): Promise<MirrorScrub> {
  const result: Result = { ...nothingFound(config.name), outcome: 'running' };
  const transport = createTransport(config.transport);
  const scrub = new MirrorPass(config, worker, transport, deps, options, result);
  try {
    await scrub.run(signal);
    result.outcome = result.outcome === 'running' ? 'done' : result.outcome;
  } catch (error) {
    signal.throwIfAborted();
    const refused = error instanceof TransportError && error.reason === 'option_refused';
    result.outcome = refused ? 'skipped' : 'failed';
    result.detail = refused ? 'its account may not list files' : messageOf(error);
  } finally {
    await transport.close();
  }
  options.onProgress({ ...result });
  return { ...result };
}

export function nothingFound(name: string): MirrorScrub {
  const none = { files: 0, sampled: 0, missing: 0, different: 0, corrupt: 0, repaired: 0, temporary: 0, foreign: 0 };
  return { name, outcome: 'waiting', detail: null, ...none, foreign_files: [] };
}

class MirrorPass {
  readonly #config: MirrorConfig;
  readonly #worker: MirrorWorker;
  readonly #transport: Transport;
  readonly #deps: MirrorScrubDeps;
  readonly #options: MirrorScrubOptions;
  readonly #result: Result;
  readonly #samples: Sampled[] = [];
  #seen = 0;

  // oxlint-disable-next-line max-params -- one caller, above
  constructor(
    config: MirrorConfig,
    worker: MirrorWorker,
    transport: Transport,
    deps: MirrorScrubDeps,
    options: MirrorScrubOptions,
    result: Result,
  ) {
    this.#config = config;
    this.#worker = worker;
    this.#transport = transport;
    this.#deps = deps;
    this.#options = options;
    this.#result = result;
  }

  async run(signal: AbortSignal): Promise<void> {
    for (const directory of ['.', ...this.#deps.store.damage.repositories()]) {
      signal.throwIfAborted();
      const seen = await this.#list(directory, signal);
      if (seen === null) {
        this.#result.outcome = 'skipped';
        this.#result.detail = 'it is not in step: pushes bring it up to date first';
        return;
      }
      await this.#sweep(directory, seen.files, signal);
      if (directory === '.' || this.#options.temporaryOnly) continue;
      const wrong = this.#compare(directory, seen.files, seen.generation);
      await this.#mend(wrong, false, signal);
      this.#options.onProgress({ ...this.#result });
    }
    await this.#readSamples(signal);
  }

  /** What lies in a directory while no push changes it; null when the mirror does not come in step. */
  async #list(
    directory: string,
    signal: AbortSignal,
  ): Promise<{ readonly files: Map<string, RemoteFile>; readonly generation: number } | null> {
    for (let tries = 0; tries < listTries; tries++) {
      const generation = await this.#settled(signal);
      if (generation === null) return null;
      const before = this.#worker.attempts;
      const files = new Map(await this.#transport.list(directory, { signal }));
      if (this.#worker.attempts === before && this.#inStep() === generation) return { files, generation };
    }
    return null;
  }

  async #settled(signal: AbortSignal): Promise<number | null> {
    const { clock } = this.#deps;
    const deadline = clock.monotonic() + settleMs;
    for (;;) {
      const generation = this.#inStep();
      if (generation !== null || clock.monotonic() > deadline) return generation;
      await clock.sleep(settlePollMs, { signal });
    }
  }

  /** The served generation when the mirror holds it and nothing is on its way, else null. */
  #inStep(): number | null {
    const { store } = this.#deps;
    const current = store.generations.current()?.number ?? 0;
    const idle = this.#worker.phase.phase === 'idle';
    return idle && current > 0 && store.mirrors.get(this.#config.name).confirmed === current ? current : null;
  }

  /** The listing was made while no push ran: our own temporary files are nobody's any more. Those of an rsync may be another one's. */
  async #sweep(directory: string, files: Map<string, RemoteFile>, signal: AbortSignal): Promise<void> {
    const old = (file: RemoteFile): boolean => this.#deps.clock.now() - (file.mtimeSeconds ?? 0) * 1000 > dayMs;
    const left: string[] = [];
    for (const path of leftOverIn(directory, files.keys())) {
      const name = path.slice(path.lastIndexOf('/') + 1);
      const file = files.get(name);
      if (!file || (isOfKilledRsync(name) && !old(file))) continue;
      left.push(path);
      files.delete(name);
    }
    if (left.length === 0) return;
    await this.#errand((transport, inner) => transport.remove(left, { signal: inner }), signal);
    this.#result.temporary += left.length;
    this.#deps.log.info('mirror_swept', { mirror: this.#config.name, directory, files: left.length });
  }

  #compare(repository: string, remote: Map<string, RemoteFile>, generation: number): PushFile[] {
    const { generations } = this.#deps.store;
    const wrong: PushFile[] = [];
    const rest = new Set(remote.keys());
    const look = (files: readonly PushFile[]): void => {
      this.#result.files += files.length;
      const differing = planComparison(files, remote);
      const missing = differing.filter((file) => !remote.has(nameOf(file))).length;
      this.#result.missing += missing;
      this.#result.different += differing.length - missing;
      wrong.push(...differing);
      for (const file of files) rest.delete(nameOf(file));
    };
    for (const page of generations.packagesOf(repository, generation)) {
      const files = filesOf(page);
      look(files);
      for (const [n, file] of files.entries()) this.#sample({ ...file, sha256: page[n]?.sha256 ?? '' });
    }
    look(indexFilesOf(generations.indexesAt(generation).filter((index) => index.repository === repository)));
    const keepAfterMs = this.#deps.clock.now() - this.#deps.graceMs;
    for (const name of rest) {
      if (!generations.isWanted(repository, name, generation, keepAfterMs)) this.#foreign(`${repository}/${name}`);
    }
    return wrong;
  }

  #foreign(path: string): void {
    this.#result.foreign++;
    if (this.#result.foreign > foreignShown) return;
    this.#result.foreign_files = [...this.#result.foreign_files, path];
    this.#deps.log.warn('mirror_foreign_file', { mirror: this.#config.name, path });
  }

  /** Each file is as likely as any other to be among those that are read (reservoir sampling). */
  #sample(file: Sampled): void {
    const { sample } = this.#options;
    this.#seen++;
    if (sample === null || this.#samples.length < sample) this.#samples.push(file);
    else {
      const slot = Math.floor(this.#deps.random() * this.#seen);
      if (slot < sample) this.#samples[slot] = file;
    }
  }

  async #readSamples(signal: AbortSignal): Promise<void> {
    if (this.#options.temporaryOnly) return;
    for (const file of this.#samples) {
      const sha256 = await this.#digest(file, signal);
      if (sha256 === 'unreadable') return;
      this.#result.sampled++;
      if (sha256 === file.sha256 || this.#inStep() === null) continue;
      this.#result.corrupt++;
      this.#deps.log.error('mirror_corrupt', { mirror: this.#config.name, path: file.path });
      await this.#mend([file], true, signal);
      this.#options.onProgress({ ...this.#result });
    }
  }

  /** Null for a file that is not there. */
  async #digest(file: PushFile, signal: AbortSignal): Promise<string | null> {
    const { transport, url } = this.#config;
    if (transport.type === 'directory') {
      try {
        return (await hashFile(join(transport.path, file.path), { pace: this.#options.pace, signal })).sha256;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return null;
        throw error;
      }
    }
    if (url === null) return 'unreadable';
    const hash = createHash('sha256');
    for await (const chunk of download(urlOf(url, file.path), { maxBytes: file.size + 1, stallMs, signal })) {
      hash.update(chunk);
      await this.#options.pace(chunk.length);
    }
    return hash.digest('hex');
  }

  /** `anew`: size and time are right there, so the file is removed first, or a transport may think that nothing is to be done. */
  async #mend(files: readonly PushFile[], anew: boolean, signal: AbortSignal): Promise<void> {
    const { publisher, store, log } = this.#deps;
    const withheld = store.damage.withheld();
    for (const piece of pieces(files.filter((file) => !withheld.has(file.path)))) {
      const mended = await this.#errand(async (transport, inner) => {
        const lease = publisher.lease();
        if (!lease) return false;
        try {
          // A generation that came meanwhile is pushed first, and what it replaced must not come back.
          if (this.#inStep() !== lease.generation) return false;
          if (anew)
            await transport.remove(
              piece.map((file) => file.path),
              { signal: inner },
            );
          await transport.put(lease.directory, [piece], { signal: inner });
          return true;
        } finally {
          lease.release();
        }
      }, signal);
      if (!mended) continue;
      this.#result.repaired += piece.length;
      log.info('mirror_mended', { mirror: this.#config.name, files: piece.length, first: piece[0]?.path });
      await this.#options.pace(piece.reduce((bytes, file) => bytes + file.size, 0));
    }
  }

  #errand<T>(work: (transport: Transport, signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    return abortable(this.#worker.errand(work), signal);
  }
}

function nameOf(file: PushFile): string {
  return file.path.slice(file.path.lastIndexOf('/') + 1);
}

function* pieces(files: readonly PushFile[]): Generator<PushFile[]> {
  let piece: PushFile[] = [];
  let bytes = 0;
  for (const file of files) {
    piece.push(file);
    bytes += file.size;
    if (piece.length < pieceFiles && bytes < pieceBytes) continue;
    yield piece;
    piece = [];
    bytes = 0;
  }
  if (piece.length > 0) yield piece;
}
