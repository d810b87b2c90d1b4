/** Which file may go to the rsync there now: what it has asked for, what has gone out, what lies under its name. It acts on nothing. */
import { type ListedDirectory, listOf } from './rsync-list.ts';
import type { Request } from './rsync-requests.ts';
import { protocolError, RunEnded } from './rsync-wire.ts';
import type { PushFile, Wave } from './transport.ts';

/**
 * The generator there counts what it has asked for and not yet got, and asks for no more than ten or fifty files at a time when it
 * tells which ones have arrived (increment_active_files of its io.c). It would never come to the packages behind ten indexes
 * that wait for them: so each request is turned down at once (MSG_NO_SEND), and the file comes all the same when it is its turn.
 */
export class Delivery {
  readonly list: readonly (PushFile | ListedDirectory)[];
  /** By place in the list; directories go with the first. */
  readonly #waveOf: readonly number[];
  readonly lastWave: number;
  readonly #confirms: boolean;
  /** Asked for and not yet turned down. */
  #new: Request[] = [];
  /** Asked for and not yet begun, by wave. */
  readonly #asked: Request[][];
  /** Sent, and not yet known to lie under its name, by wave. */
  readonly #pending: number[];
  readonly #open = new Set<number>();
  readonly #unconfirmed = new Set<number>();
  readonly #sent = new Set<number>();
  #ends = 0;
  #isStopped = false;
  #wavesDone = 0;
  #hasComplaint = false;

  /** Without `confirms` nobody tells what lies under its name: what has gone out counts as there. */
  constructor(waves: readonly Wave[], confirms: boolean) {
    this.#confirms = confirms;
    const waveOf = new Map(waves.flatMap((wave, n) => wave.map((file) => [file.path, n] as const)));
    this.lastWave = waves.length - 1;
    const files = new Map(waves.flat().map((file) => [file.path, file]));
    this.list = listOf([...files.values()]);
    this.#waveOf = this.list.map((one) => ('path' in one ? (waveOf.get(one.path) ?? 0) : 0));
    this.#asked = waves.map(() => []);
    this.#pending = waves.map(() => 0);
  }

  /** Throws RunEnded for a file that is asked for again before it was sent: nobody counts on so much. */
  ask(request: Request): void {
    if (this.#open.has(request.ndx)) throw new RunEnded(protocolError, `asks for file ${request.ndx} twice`);
    this.#open.add(request.ndx);
    this.#new.push(request);
  }

  /** The other side has ended a phase; after the first only what did not arrive as it was sent is asked for again. */
  end(): void {
    this.#ends++;
  }

  ends(): number {
    return this.#ends;
  }

  /** The files whose requests are to be turned down, each once. */
  takeNew(): readonly Request[] {
    const found = this.#new;
    this.#new = [];
    for (const request of found) this.#asked[this.#waveOf[request.ndx] ?? 0]?.push(request);
    return found;
  }

  /** What is to be answered next, up to this wave. */
  next(wave: number): Request | undefined {
    const request = this.#asked
      .slice(0, wave + 1)
      .find((asked) => asked.length > 0)
      ?.shift();
    if (request) this.#open.delete(request.ndx);
    return request;
  }

  /** The file goes out, for the first time or once more. */
  begin(ndx: number): void {
    const wave = this.#waveOf[ndx] ?? 0;
    this.#sent.add(ndx);
    if (!this.#confirms || this.#unconfirmed.has(ndx)) return;
    this.#unconfirmed.add(ndx);
    this.#pending[wave] = (this.#pending[wave] ?? 0) + 1;
  }

  /** The file lies under its name. */
  confirm(ndx: number): void {
    const wave = this.#waveOf[ndx] ?? 0;
    if (this.#unconfirmed.delete(ndx)) this.#pending[wave] = (this.#pending[wave] ?? 0) - 1;
  }

  /** All that was asked for up to now has been answered, and no more is to come. */
  isAnswered(): boolean {
    return this.#ends > 0 && this.#new.length === 0 && this.#asked.every((asked) => asked.length === 0);
  }

  /** Everything up to this wave lies under its name. */
  isThere(wave: number): boolean {
    return this.#ends > 0 && this.#new.length === 0 && this.#pending.slice(0, wave + 1).every((count) => count === 0);
  }

  /** Waves of which all was asked for that is asked for at all, and has gone out. */
  wavesDone(): number {
    return this.#wavesDone;
  }

  /** This wave is done; what of it was not asked for stays as it is there. Nothing more may go out then. */
  finish(wave: number): void {
    if (this.#isStopped) return;
    this.#wavesDone = wave + 1;
    if (!this.#isSent(wave)) this.#isStopped = true;
  }

  /** Something was said that may mean a file that is not taken. */
  complain(): void {
    this.#hasComplaint = true;
  }

  /** Whether something was said since the last call. */
  takeComplaint(): boolean {
    const has = this.#hasComplaint;
    this.#hasComplaint = false;
    return has;
  }

  /** Nothing more may go out. */
  stop(): void {
    this.#isStopped = true;
  }

  isStopped(): boolean {
    return this.#isStopped;
  }

  /** What was asked for and sent. */
  taken(): ReadonlySet<string> {
    const paths = new Set<string>();
    for (const ndx of this.#sent) {
      const one = this.list[ndx];
      if (one && 'path' in one) paths.add(one.path);
    }
    return paths;
  }

  /** The smallest file of the last wave, if it was sent. */
  smallestOfLast(): number | undefined {
    const sizeOf = (ndx: number): number => (this.list[ndx] as PushFile).size;
    return [...this.#sent]
      .filter((ndx) => this.#waveOf[ndx] === this.lastWave)
      .sort((a, b) => sizeOf(a) - sizeOf(b))[0];
  }

  /** Everything of this wave was asked for and has gone out. */
  #isSent(wave: number): boolean {
    return this.list.every((one, ndx) => !('path' in one) || this.#waveOf[ndx] !== wave || this.#sent.has(ndx));
  }
}
