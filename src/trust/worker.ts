/** The thread that verifies: takes one job at a time from the Verifier, answers with plain facts or the reason of a rejection. */
import { parentPort, workerData } from 'node:worker_threads';
import type { IndexEntry, IndexFileName } from '../apk/entry.ts';
import { limits } from '../apk/limits.ts';
import { errnoOf, messageOf } from '../errors.ts';
import { mapBufferPools } from '../system/buffer-pools.ts';
import { indexCheck, packageCheck } from './check-format.ts';
import type { SignaturePolicy } from './check-package.ts';
import { type IndexFacts, type PackageFacts, type Rejection, reject, type Warning } from './facts.ts';
import { stateOf } from './intake.ts';
import type { Keyring } from './keyring.ts';
import { type PassOptions, Workbench } from './pass.ts';

interface JobBase {
  readonly id: number;
  readonly sourceFd: number;
  readonly destination: string | undefined;
  readonly keyring: Keyring;
  readonly ignoreLinks: boolean;
}
export interface PackageJob extends JobBase {
  readonly kind: 'package';
  readonly entry: IndexEntry | null;
  readonly packageSignatures: SignaturePolicy;
  readonly inflate: boolean;
  readonly explainSize: boolean;
}
export interface IndexJob extends JobBase {
  readonly kind: 'index';
  readonly arch: string | null;
  readonly acceptEmpty: boolean;
  readonly fileName: IndexFileName | null;
}
export type Job = PackageJob | IndexJob;

export type Order = Job | { readonly kind: 'abort'; readonly id: number } | { readonly kind: 'more' };

export type Outcome =
  | { readonly verdict: 'accepted'; readonly facts: PackageFacts }
  | { readonly verdict: 'accepted'; readonly facts: IndexFacts; readonly warning: Warning | null }
  | Rejection;

export type Answer =
  | { readonly kind: 'creating' }
  | { readonly kind: 'entries'; readonly entries: readonly IndexEntry[] }
  | { readonly kind: 'done'; readonly outcome: Outcome }
  | {
      readonly kind: 'failed';
      readonly message: string;
      readonly errno: string | undefined;
      readonly aborted: boolean;
    };

export interface WorkerSettings {
  /** Whether this worker may start a thread of its own to hash big files beside it. */
  readonly sideHash: boolean;
}

mapBufferPools();
const workbench = new Workbench(workerData as WorkerSettings);
let abortedId = -1;
let resume: (() => void) | undefined;

parentPort?.on('message', (order: Order) => {
  switch (order.kind) {
    case 'abort':
      abortedId = order.id;
      resume?.();
      break;
    case 'more':
      resume?.();
      break;
    case 'package':
    case 'index':
      void answer(order);
      break;
  }
});

/** Does the job; every way in which it can end is one message. */
async function answer(job: Job): Promise<void> {
  try {
    const outcome = await (job.kind === 'package' ? verifyPackage(job) : verifyIndex(job));
    send({ kind: 'done', outcome });
  } catch (error) {
    send({ kind: 'failed', message: messageOf(error), errno: errnoOf(error), aborted: error instanceof Aborted });
  }
}

class Aborted extends Error {}

async function verifyPackage(job: PackageJob): Promise<Outcome> {
  const options = begin(job);
  if ('verdict' in options) return options;
  const { size, mtimeSeconds } = options.state;
  if (job.entry !== null && size !== job.entry.size) {
    const mismatch = reject('SIZE_MISMATCH', `the file has ${size} bytes, the index says ${job.entry.size}`);
    if (!job.explainSize) return mismatch;
    const why = await workbench.pass({ ...options, destination: undefined }, packageCheck(job, size));
    return why.verdict === 'accepted' ? mismatch : why;
  }
  const result = await workbench.pass(options, packageCheck(job, size));
  if (result.verdict !== 'accepted') return result;
  return { verdict: 'accepted', facts: { ...result.found, size, sha256: result.sha256, mtimeSeconds } };
}

async function verifyIndex(job: IndexJob): Promise<Outcome> {
  const options = begin(job);
  if ('verdict' in options) return options;
  const { size, mtimeSeconds } = options.state;
  if (size > limits.indexFileBytes)
    return reject('LIMIT', `an index of ${size} bytes, at most ${limits.indexFileBytes}`);
  const onEntries = (entries: readonly IndexEntry[]): Promise<void> => sendEntries(job.id, entries);
  const { arch, fileName, keyring, acceptEmpty } = job;
  const check = indexCheck({ arch, fileName, keyring, acceptEmpty, onEntries });
  const result = await workbench.pass(options, check);
  if (result.verdict !== 'accepted') return result;
  const { unknownField, ...found } = result.found;
  const warning: Warning | null =
    unknownField === null
      ? null
      : { code: 'INDEX_FIELD', detail: `unknown field ${unknownField}: makes a package that clients cannot install` };
  return { verdict: 'accepted', facts: { ...found, size, sha256: result.sha256, mtimeSeconds }, warning };
}

function begin(job: Job): PassOptions | Rejection {
  const state = stateOf(job.sourceFd);
  if (!state.isFile) return reject('NOT_REGULAR', 'not a regular file');
  const checkWanted = (): void => {
    if (abortedId === job.id) throw new Aborted('aborted');
  };
  checkWanted();
  const onCreate = (): void => send({ kind: 'creating' });
  const { sourceFd, destination, ignoreLinks } = job;
  return { sourceFd, destination, ignoreLinks, state, checkWanted, onCreate };
}

/** Sends one slice and waits until the other side wants more. */
async function sendEntries(id: number, entries: readonly IndexEntry[]): Promise<void> {
  if (abortedId === id) return;
  await new Promise<void>((resolve) => {
    resume = resolve;
    send({ kind: 'entries', entries });
  });
  resume = undefined;
}

function send(message: Answer): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(message);
}
