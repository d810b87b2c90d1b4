/** Verifies packages and indexes on worker threads. The only maker of Verified values: who holds one knows that the checks were done. */
import { rm } from 'node:fs/promises';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { IndexEntry, IndexFileName } from '../apk/entry.ts';
import { errnoOf, messageOf, OperationError } from '../errors.ts';
import { syncFile } from '../system/durable.ts';
import type { SignaturePolicy } from './check-package.ts';
import type { IndexFacts, PackageFacts, Rejection, Warning } from './facts.ts';
import type { Keyring } from './keyring.ts';
import { keyFingerprint } from './public-key.ts';
import type { Answer, IndexJob, Job, Order, Outcome, PackageJob, WorkerSettings } from './worker.ts';

export type { IndexFacts, SignaturePolicy };

declare const brand: unique symbol;
/** A value that came out of a verification; nothing outside this file can make one. */
export type Verified<T> = T & { readonly [brand]: true };

export type PackageVerdict = { readonly verdict: 'accepted'; readonly package: Verified<PackageFacts> } | Rejection;
export type IndexVerdict =
  | { readonly verdict: 'accepted'; readonly index: Verified<IndexFacts>; readonly warning?: Warning }
  | Rejection;

interface VerifyOptions {
  /** An open descriptor of this process. It is read at explicit positions and not closed; it is free again once the promise settles. */
  readonly sourceFd: number;
  /**
   * Where the same bytes are copied to while they are verified; must not exist. Accepted: mode 0644, the source's mtime, synced.
   * Rejected: whole, mode 0600, not synced, for the quarantine; not made at all for what is known before a byte is
   * read (NOT_REGULAR, SIZE_MISMATCH, an index over the size limit). Error or abort: removed.
   */
  readonly destination?: string;
  /** As `keyringAt` makes it for the file's repository and the present instant. */
  readonly keyring: Keyring;
  /**
   * True for a file in one of our trees, to which the publisher makes and removes hard links: that is no change of it. Otherwise,
   * as with any change of its attributes, it is CHANGED_WHILE_READING.
   */
  readonly ignoreLinks?: boolean;
  readonly signal?: AbortSignal;
}

export interface VerifyIndexOptions extends VerifyOptions {
  /** What `A:` must be: the last component of the repository's path; null asks only for a safe component. */
  readonly arch: string | null;
  /** True: an index without packages is accepted, and whoever asked decides about it. Otherwise it is held as INDEX_EMPTY. */
  readonly acceptEmpty?: boolean;
  /** The name under which clients ask for the index, which says its format and where its packages lie; default: any. */
  readonly fileName?: IndexFileName;
  /** Takes the entries in slices of at most 1000, before the verdict: drop them unless the index is accepted. */
  readonly onEntries: (entries: readonly IndexEntry[]) => void;
}

export interface VerifyPackageOptions extends VerifyOptions {
  /** What the index says; null for a file that stands alone, which then needs a signature unless the policy is `ignore`. */
  readonly entry: IndexEntry | null;
  readonly packageSignatures: SignaturePolicy;
  /** Also look into the data as an installing client would: one gzip member, CRC, tar rules, paths. */
  readonly inflate: boolean;
  /** A file of the wrong size is SIZE_MISMATCH before a byte is read; with this it is read to name a more exact fault if there is one. */
  readonly explainSize?: boolean;
}

interface Task {
  readonly job: Job;
  readonly onEntries: (entries: readonly IndexEntry[]) => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
  /** What `onEntries` threw, once it has. */
  failure?: unknown;
  /** True once the thread makes the destination. */
  creating?: true;
}

interface Slot {
  worker: Worker | undefined;
  task: Task | undefined;
}

export class Verifier implements AsyncDisposable {
  readonly #slots: Slot[];
  readonly #queue: Task[] = [];
  /** Copies that are being made durable. */
  readonly #syncs = new Set<Promise<void>>();
  #nextId = 0;
  #disposed = false;

  /** Threads are started when they are first needed; each does one job at a time, further jobs wait in order. */
  constructor(options: { readonly workers: number }) {
    this.#slots = Array.from({ length: options.workers }, () => ({ worker: undefined, task: undefined }));
  }

  /**
   * Verifies an index. A rejection is a value; throws for a broken world: OperationError DISK_FULL, any other error of
   * reading or writing, a crashed thread, the signal's reason once aborted.
   */
  async verifyIndex(options: VerifyIndexOptions): Promise<IndexVerdict> {
    const { sourceFd, destination, arch, fileName = null, keyring, acceptEmpty = false, signal } = options;
    const id = this.#nextId++;
    const { ignoreLinks = false } = options;
    const source = { sourceFd, destination, ignoreLinks };
    const job: IndexJob = { kind: 'index', id, ...source, arch, fileName, keyring, acceptEmpty };
    const outcome = await this.#run(job, options.onEntries, signal);
    if (outcome.verdict !== 'accepted') return outcome;
    if (!('warning' in outcome))
      throw new Error('the verifying thread answered a question about an index with a package');
    const key = keyring.keys.find(({ name }) => name === outcome.facts.signedBy);
    const facts = key === undefined ? outcome.facts : { ...outcome.facts, signedKey: keyFingerprint(key.pem) };
    const index = facts as Verified<IndexFacts>;
    return outcome.warning === null
      ? { verdict: 'accepted', index }
      : { verdict: 'accepted', index, warning: outcome.warning };
  }

  /** Verifies a package, against its index entry or alone. Throws as `verifyIndex` does. */
  async verifyPackage(options: VerifyPackageOptions): Promise<PackageVerdict> {
    const { sourceFd, destination, entry, keyring, packageSignatures, inflate, explainSize = false } = options;
    const { ignoreLinks = false } = options;
    const id = this.#nextId++;
    const job: PackageJob = {
      kind: 'package',
      id,
      sourceFd,
      destination,
      ignoreLinks,
      entry,
      keyring,
      packageSignatures,
      inflate,
      explainSize,
    };
    const outcome = await this.#run(job, () => {}, options.signal);
    if (outcome.verdict !== 'accepted') return outcome;
    if ('warning' in outcome) throw new Error('the verifying thread answered a question about a package with an index');
    return { verdict: 'accepted', package: outcome.facts as Verified<PackageFacts> };
  }

  /** Aborts what runs and waits, then ends the threads. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    for (const task of this.#queue.splice(0)) this.#settle(task, () => task.reject(disposed()));
    await Promise.all(
      this.#slots.map(async (slot) => {
        const { task, worker } = slot;
        if (worker === undefined) return;
        if (task !== undefined) {
          task.failure = disposed();
          await new Promise<void>((resolve) => {
            worker.on('message', () => slot.task === undefined && resolve());
            worker.once('exit', () => resolve());
            post(worker, { kind: 'abort', id: task.job.id });
          });
        }
        await worker.terminate();
      }),
    );
    await Promise.all(this.#syncs);
  }

  #run(job: Job, onEntries: Task['onEntries'], signal: AbortSignal | undefined): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (this.#disposed) throw disposed();
      signal?.throwIfAborted();
      const task: Task = { job, onEntries, signal, resolve, reject, onAbort: () => this.#abort(task) };
      signal?.addEventListener('abort', task.onAbort);
      this.#queue.push(task);
      this.#startNext();
    });
  }

  #startNext(): void {
    const slot = this.#slots.find((candidate) => candidate.task === undefined);
    if (slot === undefined || this.#disposed) return;
    const task = this.#queue.shift();
    if (task === undefined) return;
    slot.task = task;
    try {
      slot.worker ??= this.#startWorker(slot);
      post(slot.worker, task.job);
    } catch (error) {
      this.#free(slot, task, () => task.reject(error));
    }
  }

  #startWorker(slot: Slot): Worker {
    const worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
      // A second thread costs memory and helps only while a core is idle: one worker may have it.
      workerData: { sideHash: slot === this.#slots[0] } satisfies WorkerSettings,
      // A small young generation makes the collector free dead buffers soon; a big one lets tens of megabytes of them pile up.
      resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 2 },
    });
    let cause: unknown;
    worker.on('message', (answer: Answer) => this.#take(slot, worker, answer));
    worker.on('error', (error) => {
      cause = error;
    });
    // Only when the thread is gone is it sure that it does not use the descriptor any more.
    worker.on('exit', () => void this.#bury(slot, cause));
    return worker;
  }

  /** A thread has ended, which happens to a job only when it crashes: removes what it has left and fails the job. */
  async #bury(slot: Slot, cause: unknown): Promise<void> {
    slot.worker = undefined;
    const { task } = slot;
    if (task === undefined) return;
    if (task.creating === true && task.job.destination !== undefined) {
      await rm(task.job.destination, { force: true }).catch(() => {});
    }
    this.#free(slot, task, () =>
      task.reject(task.failure ?? new Error(`the verifying thread ended: ${String(cause)}: try again`, { cause })),
    );
  }

  #take(slot: Slot, worker: Worker, answer: Answer): void {
    const { task } = slot;
    if (task === undefined) return;
    switch (answer.kind) {
      case 'creating':
        task.creating = true;
        break;
      case 'entries':
        this.#giveEntries(task, answer.entries);
        post(worker, task.failure === undefined ? { kind: 'more' } : { kind: 'abort', id: task.job.id });
        break;
      case 'done':
        this.#free(slot, task, () => {
          if (task.failure !== undefined) task.reject(task.failure);
          else if (answer.outcome.verdict === 'accepted' && task.job.destination !== undefined)
            this.#makeDurable(task, task.job.destination, answer.outcome);
          else task.resolve(answer.outcome);
        });
        break;
      case 'failed':
        this.#free(slot, task, () => task.reject(task.failure ?? errorOf(answer, task)));
        break;
    }
  }

  #giveEntries(task: Task, entries: readonly IndexEntry[]): void {
    if (task.signal?.aborted === true || task.failure !== undefined) return;
    try {
      task.onEntries(entries);
    } catch (error) {
      task.failure = error;
    }
  }

  /** Syncs the copy of an accepted file while the thread already looks at the next one: many syncs together cost little more than one. */
  #makeDurable(task: Task, destination: string, outcome: Outcome): void {
    const work = (async () => {
      try {
        await syncFile(destination);
        task.signal?.throwIfAborted();
        task.resolve(outcome);
      } catch (error) {
        await rm(destination, { force: true }).catch(() => {});
        task.reject(task.signal?.aborted === true ? task.signal.reason : writeError(error, destination));
      }
    })();
    this.#syncs.add(work);
    void work.finally(() => this.#syncs.delete(work));
  }

  #free(slot: Slot, task: Task, settle: () => void): void {
    slot.task = undefined;
    this.#settle(task, settle);
    this.#startNext();
  }

  #settle(task: Task, settle: () => void): void {
    task.signal?.removeEventListener('abort', task.onAbort);
    settle();
  }

  #abort(task: Task): void {
    const waiting = this.#queue.indexOf(task);
    if (waiting >= 0) {
      this.#queue.splice(waiting, 1);
      this.#settle(task, () => task.reject(task.signal?.reason));
      return;
    }
    const worker = this.#slots.find((slot) => slot.task === task)?.worker;
    if (worker !== undefined) post(worker, { kind: 'abort', id: task.job.id });
  }
}

function post(worker: Worker, order: Order): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  worker.postMessage(order);
}

function disposed(): Error {
  return new Error('the verifier was ended');
}

function errorOf(answer: Extract<Answer, { kind: 'failed' }>, task: Task): unknown {
  if (answer.aborted) return task.signal?.reason ?? new Error('aborted');
  const failure = Object.assign(new Error(answer.message), { code: answer.errno });
  return writeError(failure, task.job.destination);
}

function writeError(error: unknown, target: string | undefined): Error {
  const code = errnoOf(error);
  if (target !== undefined && (code === 'ENOSPC' || code === 'EDQUOT')) {
    return new OperationError(
      'DISK_FULL',
      `${target}: cannot be written: ${messageOf(error)}: free space there or raise the quota`,
    );
  }
  return Object.assign(new Error(`verifying: ${messageOf(error)}`), { code });
}
