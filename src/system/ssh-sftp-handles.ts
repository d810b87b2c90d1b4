/** Foretells which handles a server will give to the next files, so that what follows an open need not wait for its answer. It neither reads nor sends. */

/** Handles that are not in use, as OpenSSH's sftp-server keeps them: the one that was closed last goes out first, then new numbers. */
interface Stock {
  readonly closed: number[];
  fresh: number;
}

/** A request that takes a handle or gives one back. */
interface Step {
  readonly closes: number | undefined;
}

/**
 * Of one session, in which the requests are worked off and answered in their order. Whoever uses a foretold handle compares it
 * with the one that the answer brings: a guess may be wrong, and every server may change its ways. It makes none before a first
 * answer was as foreseen, none any more after one that was not, and none after a refusal until all answers are there.
 */
export class HandleForecast {
  /** As of the last answer. */
  readonly #answered: Stock = { closed: [], fresh: 0 };
  /** As of the last request. */
  #asked: Stock = { closed: [], fresh: 0 };
  #steps: Step[] = [];
  #state: 'unknown' | 'foreseen' | 'other' = 'unknown';
  #refused = false;

  /** What the next open will be given, or undefined. */
  next(): Buffer | undefined {
    if (this.#state !== 'foreseen' || this.#refused) return undefined;
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE(this.#asked.closed.at(-1) ?? this.#asked.fresh);
    return handle;
  }

  /** An open is sent: to be named again with its answer. */
  opening(): Step {
    take(this.#asked);
    return this.#push({ closes: undefined });
  }

  /** A close is sent. */
  closing(handle: Buffer): Step {
    const closes = numberOf(handle);
    if (closes !== undefined) this.#asked.closed.push(closes);
    else this.#state = 'other';
    return this.#push({ closes });
  }

  /** An open has been granted. */
  opened(step: Step, handle: Buffer): void {
    this.#answer(step);
    const asForeseen = take(this.#answered) === numberOf(handle);
    if (!asForeseen) this.#state = 'other';
    else if (this.#state === 'unknown') this.#state = 'foreseen';
    this.#settle();
  }

  closed(step: Step): void {
    this.#answer(step);
    if (step.closes !== undefined) this.#answered.closed.push(step.closes);
    this.#settle();
  }

  /** The open or the close was not granted: it changes nothing at the server. */
  refused(step: Step): void {
    this.#answer(step);
    this.#refused = true;
    this.#settle();
  }

  #push(step: Step): Step {
    this.#steps.push(step);
    return step;
  }

  #answer(step: Step): void {
    if (this.#steps.shift() !== step) this.#state = 'other';
  }

  /** What was asked behind a request that was refused is known again when all of it is answered. */
  #settle(): void {
    if (!this.#refused || this.#steps.length > 0) return;
    this.#refused = false;
    this.#asked = { closed: [...this.#answered.closed], fresh: this.#answered.fresh };
  }
}

function take(stock: Stock): number {
  return stock.closed.pop() ?? stock.fresh++;
}

/** OpenSSH's handles are 32-bit numbers (handle_to_string in its sftp-server.c). */
function numberOf(handle: Buffer): number | undefined {
  return handle.length === 4 ? handle.readUInt32BE() : undefined;
}
