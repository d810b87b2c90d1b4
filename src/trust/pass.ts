/** One pass over a file: reads it once through a check, keeps or leaves the copy, and turns what the check throws into a verdict. */
import { FormatError } from '../errors.ts';
import { type Rejection, reject, rejectionOf } from './facts.ts';
import { chunkBytes, chunkSlots, Intake, type SourceState, stateOf } from './intake.ts';
import { SideHash } from './side-hash.ts';

/** Looks at the bytes of a file as they go by. Both methods throw FormatError for a file that must be refused. */
export interface Check<T> extends Disposable {
  push(chunk: Buffer): Promise<void>;
  /** After the last byte: what was found out. */
  finish(): Promise<T>;
}

export interface PassOptions {
  readonly sourceFd: number;
  readonly destination: string | undefined;
  readonly state: SourceState;
  /** Hard links to the source may come and go meanwhile. */
  readonly ignoreLinks: boolean;
  /** Told before the destination is made, so that somebody can remove it should this thread die. */
  readonly onCreate: () => void;
  /** Throws once the result is no longer wanted. */
  readonly checkWanted: () => void;
}

export type PassResult<T> = { readonly verdict: 'accepted'; readonly found: T; readonly sha256: string } | Rejection;

/** Files smaller than this are hashed twice on one thread; starting and telling another one would cost more. */
const sideHashFrom = 4 * 1024 * 1024;

/** The memory of a worker, used for one file after the other. */
export class Workbench {
  readonly #memory = new SharedArrayBuffer(chunkBytes * chunkSlots);
  readonly #slots = Buffer.from(this.#memory);
  readonly #settings: { readonly sideHash: boolean };
  #sideHash: SideHash | undefined;

  constructor(settings: { readonly sideHash: boolean }) {
    this.#settings = settings;
  }

  /**
   * Reads the file through `check`. A rejected file is still copied whole (mode 0600, not synced) for the quarantine; without a
   * destination reading ends at the first fault. On an error the copy is removed.
   */
  async pass<T>(options: PassOptions, check: Check<T>): Promise<PassResult<T>> {
    const { sourceFd, destination, state, checkWanted } = options;
    using _ = check;
    const aside = this.#settings.sideHash && state.size >= sideHashFrom;
    const hasher = aside ? this.#startSideHash() : undefined;
    if (destination !== undefined) options.onCreate();
    const intake = await Intake.begin({
      sourceFd,
      size: state.size,
      destination,
      slots: this.#slots,
      hasher,
      checkWanted,
    });
    try {
      const outcome = await readThrough(intake, check);
      const after = stateOf(sourceFd);
      const isSame =
        after.fingerprint === state.fingerprint && (options.ignoreLinks || after.ctimeNs === state.ctimeNs);
      if (!isSame || (outcome.whole && intake.position !== state.size)) {
        await intake.close();
        return reject('CHANGED_WHILE_READING', 'the file changed while it was read');
      }
      if (outcome.fault !== undefined) {
        await intake.close();
        return rejectionOf(outcome.fault);
      }
      const sha256 = await intake.sha256();
      checkWanted();
      await intake.keep(state.mtimeSeconds);
      return { verdict: 'accepted', found: outcome.found, sha256 };
    } catch (error) {
      await intake.discard();
      throw error;
    }
  }

  #startSideHash(): SideHash {
    if (this.#sideHash === undefined || this.#sideHash.failed) this.#sideHash = new SideHash(this.#memory);
    this.#sideHash.begin();
    return this.#sideHash;
  }
}

type Outcome<T> =
  | { readonly fault: FormatError; readonly whole: boolean }
  | { readonly fault: undefined; readonly found: T; readonly whole: true };

async function readThrough<T>(intake: Intake, check: Check<T>): Promise<Outcome<T>> {
  let fault: FormatError | undefined;
  for await (const chunk of intake.chunks()) {
    fault ??= await faultOf(() => check.push(chunk));
    if (fault !== undefined && !intake.copies) return { fault, whole: false };
  }
  await intake.settle();
  if (fault !== undefined) return { fault, whole: true };
  try {
    return { fault: undefined, found: await check.finish(), whole: true };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { fault: error, whole: true };
  }
}

async function faultOf(work: () => Promise<void>): Promise<FormatError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof FormatError) return error;
    throw error;
  }
}
