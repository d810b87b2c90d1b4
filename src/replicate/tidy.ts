/** Removes what nothing needs from a mirror, at the end of a push: strangers, temporary files of pushes that were cut off, what has expired. */
import { posix } from 'node:path';
import { TransportError } from '../errors.ts';
import type { Log } from '../system/log.ts';
import { removeExpired } from './expired.ts';
import { leftOverIn } from './plan.ts';
import type { PushDeps } from './ports.ts';
import type { RemoteFile, Transport, TransportOptions } from './transport.ts';

const dayMs = 86_400_000;

export class MirrorTidy {
  readonly #name: string;
  readonly #transport: Transport;
  readonly #deps: PushDeps;
  readonly #isShared: () => boolean;
  /** A push may have been cut off and have left temporary files: the last one of this process, or of the one before. */
  #wasCutOff = true;
  /** Directories that were written to since the last push that ended well. */
  readonly #written = new Set<string>();

  /** `isShared`: another primary writes there too. */
  constructor(name: string, transport: Transport, deps: PushDeps, isShared: () => boolean) {
    this.#isShared = isShared;
    this.#name = name;
    this.#transport = transport;
    this.#deps = deps;
  }

  /** These files are about to be put, or removed. */
  willTouch(paths: readonly string[]): void {
    for (const path of paths) this.#written.add(posix.dirname(path));
  }

  /** A push did not end well. */
  cutOff(): void {
    this.#wasCutOff = true;
  }

  /**
   * Removes what nothing ever needed here, once the indexes of `generation` are there: `strangers`, which a comparison found,
   * and left-over temporary files. An account may not be allowed to delete.
   */
  async run(
    strangers: readonly string[],
    generation: number,
    signal: AbortSignal,
  ): Promise<{ readonly mayRemove: boolean; readonly removed: boolean }> {
    const { clock, graceMs, log, store } = this.#deps;
    let removed = false;
    const mayRemove = await unlessRefused(this.#name, log, async () => {
      // A newer generation that was taken along may want what the compared one did not.
      const keepAfterMs = clock.now() - graceMs;
      const unwanted = strangers.filter(
        (path) => !store.generations.isWanted(posix.dirname(path), posix.basename(path), generation, keepAfterMs),
      );
      const leftOver = this.#wasCutOff ? await this.#leftOver(signal) : [];
      const gone = [...unwanted, ...leftOver.filter((path) => !unwanted.includes(path))];
      if (gone.length > 0) await this.#transport.remove(gone, { signal });
      removed = gone.length > 0;
      this.#wasCutOff = false;
    });
    return { mayRemove, removed };
  }

  /** Removes what has expired, at the end of a push that ended well. `generation` is what the mirror serves. */
  async prune(generation: number, mayRemove: boolean, signal: AbortSignal): Promise<void> {
    const { clock, graceMs, log, store } = this.#deps;
    const remove = (): Promise<void> => removeExpired(this.#name, generation, this.#transport, this.#deps, signal);
    const done = mayRemove && (await unlessRefused(this.#name, log, remove));
    if (!done) store.mirrors.pruned(this.#name, clock.now() - graceMs);
    this.#written.clear();
  }

  /** On a shared mirror a fresh temporary file may belong to the push of the other primary. */
  #isNobodys({ mtimeSeconds }: RemoteFile): boolean {
    return !this.#isShared() || this.#deps.clock.now() - (mtimeSeconds ?? 0) * 1000 > dayMs;
  }

  /** Temporary files where this push and those that failed before it have written. */
  async #leftOver(signal: AbortSignal): Promise<string[]> {
    const found: string[] = [];
    for (const directory of this.#written) {
      signal.throwIfAborted();
      const there = await listIfAllowed(this.#transport, directory, signal);
      const names = [...there].filter(([, file]) => this.#isNobodys(file)).map(([name]) => name);
      found.push(...leftOverIn(directory, names));
    }
    return found;
  }
}

/** An account that may only write cannot be looked at: everything is put, and the transport leaves out what is there. */
export async function listIfAllowed(
  transport: Transport,
  directory: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, RemoteFile>> {
  try {
    return await transport.list(directory, { signal });
  } catch (error) {
    if (error instanceof TransportError && error.reason === 'option_refused') return new Map();
    throw error;
  }
}

/** An account that may not delete keeps what nothing needs: its mirror is in step all the same. False when it was refused. */
export async function unlessRefused(mirror: string, log: Log, remove: () => Promise<void>): Promise<boolean> {
  try {
    await remove();
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    log.warn('prune_refused', { mirror, detail: error.message });
    return false;
  }
}

/** A removal failed because the account may not: by what it runs (`rrsync -no-del`), or by what it is allowed (`sftp-server -P remove`, a key of an object store). */
export function isRefusal(error: unknown): error is TransportError {
  return error instanceof TransportError && (error.reason === 'option_refused' || error.reason === 'permission');
}

/** Asks for a sign of life, by the cheapest means that the transport has. */
export async function checkWith(transport: Transport, options: TransportOptions): Promise<void> {
  if (transport.check) await transport.check(options);
  else await listIfAllowed(transport, '.', options.signal);
}
