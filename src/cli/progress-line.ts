/** Shows on stderr how far something is: a bar in one place on a terminal, a plain line now and then elsewhere. */
import { type Progress, renderProgressLine } from '../observe/progress.ts';
import { systemClock } from '../system/clock.ts';
import type { Io } from './command.ts';

const drawEveryMs = 100;
const lineEveryMs = 10_000;

export class ProgressLine implements Disposable {
  readonly #io: Io;
  /** Monotonic. */
  readonly #begunAt = systemClock.monotonic();
  #last = Number.NEGATIVE_INFINITY;
  #drawn = false;

  constructor(io: Io) {
    this.#io = io;
  }

  /** `startedAt`: when it began, as an instant; null where that is not known. */
  show(progress: Progress, startedAt: string | null): void {
    const now = systemClock.monotonic();
    const columns = this.#io.env.TERM === 'dumb' ? undefined : this.#io.errColumns;
    // What is over soon leaves no line in a log.
    const since = Math.max(this.#last, columns === undefined ? this.#begunAt : Number.NEGATIVE_INFINITY);
    if (now - since < (columns === undefined ? lineEveryMs : drawEveryMs)) return;
    this.#last = now;
    const elapsedMs = startedAt === null ? now - this.#begunAt : systemClock.now() - Date.parse(startedAt);
    const text = renderProgressLine(progress, Math.max(0, elapsedMs), columns);
    this.#io.err(columns === undefined ? `${text}\n` : `\r${text}\x1b[K`);
    this.#drawn = columns !== undefined;
  }

  /** The line is free for something else; the bar comes back with the next `show`. */
  clear(): void {
    if (!this.#drawn) return;
    this.#io.err('\r\x1b[K');
    this.#drawn = false;
    this.#last = Number.NEGATIVE_INFINITY;
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}
