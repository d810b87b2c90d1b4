/** SFTP sessions beside the first one of a connection: opened for whoever comes next, so that nobody waits for one, and kept. */
import type { SftpSession } from './ssh-sftp.ts';

/** Of one connection; they end with it. */
export class SpareSessions {
  readonly #open: () => Promise<SftpSession>;
  #sessions: SftpSession[] = [];
  #opening = 0;
  /** The server gives no more on this connection (`MaxSessions`, a forced command), or none that lasts. */
  #refused = false;

  constructor(open: () => Promise<SftpSession>) {
    this.#open = open;
  }

  /** Those that stand now, at most `count`. What is missing is opened meanwhile, unless the server has refused one before. */
  take(count: number): readonly SftpSession[] {
    if (this.#sessions.some((one) => one.endedInUse)) this.#refused = true;
    this.#sessions = this.#sessions.filter((one) => !one.ended);
    const missing = this.#refused ? 0 : count - this.#sessions.length - this.#opening;
    for (let n = 0; n < missing; n++)
      this.#openOne().catch(() => {
        this.#refused = true;
      });
    return this.#sessions.slice(0, count);
  }

  async #openOne(): Promise<void> {
    this.#opening += 1;
    try {
      const session = await this.#open();
      // A first handle, of anything: with it the session can foretell the next.
      session
        .openDirectory('.')
        .then((handle) => session.close(handle))
        .catch(() => {});
      this.#sessions.push(session);
    } finally {
      this.#opening -= 1;
    }
  }
}
