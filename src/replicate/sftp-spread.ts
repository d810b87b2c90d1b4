/** Decides over which of several SFTP sessions a file of an upload is written: the one that has the fewest in hand. */
import type { SftpSession } from '../system/ssh-sftp.ts';

type Session = Pick<SftpSession, 'ended'>;

export class Spread<T extends Session = SftpSession> {
  readonly #first: T;
  readonly #inHand: Map<T, number>;

  constructor(first: T, others: readonly T[]) {
    this.#first = first;
    this.#inHand = new Map([first, ...others].map((session) => [session, 0]));
  }

  /** The session for the next file, to be given back when that is in its place. */
  take(): T {
    const [session] = [...this.#inHand]
      .filter(([one]) => !one.ended)
      .reduce((least, one) => (one[1] < least[1] ? one : least), [this.#first, Infinity] as [T, number]);
    return this.#count(session, 1);
  }

  takeFirst(): T {
    return this.#count(this.#first, 1);
  }

  give(session: T): void {
    this.#count(session, -1);
  }

  #count(session: T, change: number): T {
    this.#inHand.set(session, (this.#inHand.get(session) ?? 0) + change);
    return session;
  }
}
