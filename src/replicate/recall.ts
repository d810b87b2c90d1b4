/** Takes recalled packages from one mirror, whenever it can be reached: which recalls are done there is in the store. */
import type { Store } from '../store/store.ts';
import type { Log } from '../system/log.ts';
import { isRefusal } from './tidy.ts';
import type { Transport } from './transport.ts';

export class MirrorRecall {
  readonly #mirror: string;
  readonly #transport: Transport;
  readonly #deps: { readonly store: Store; readonly log: Log };
  /** The newest recall that the account refused to carry out: not tried again but with the next push. */
  #refused = 0;
  /** The newest recall that was carried out here. */
  #removed = 0;

  constructor(mirror: string, transport: Transport, deps: { readonly store: Store; readonly log: Log }) {
    this.#mirror = mirror;
    this.#transport = transport;
    this.#deps = deps;
  }

  /** True when something was recalled that may still lie on the mirror. */
  isDue(): boolean {
    const { mirrors, recalls } = this.#deps.store;
    return recalls.newest() > Math.max(mirrors.get(this.#mirror).recalled, this.#refused);
  }

  /** Removes what was recalled since the last one that was recorded. An account that may not delete keeps it, which is an error for the log. */
  async apply(signal: AbortSignal): Promise<void> {
    const { log, store } = this.#deps;
    const newest = store.recalls.newest();
    const { recalled } = store.mirrors.get(this.#mirror);
    if (newest === recalled) return;
    let files = 0;
    try {
      for (const paths of store.recalls.paths(recalled, newest)) {
        signal.throwIfAborted();
        await this.#transport.remove(paths, { signal });
        files += paths.length;
      }
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#refused = newest;
      log.error('recall_refused', { mirror: this.#mirror, detail: error.message, hint: 'its owner must remove it' });
      return;
    }
    this.#removed = newest;
    log.info('recalled_from_mirror', { mirror: this.#mirror, files });
  }

  /** To be called when what was removed stays so, whatever happens to the mirror. */
  record(): void {
    const { mirrors } = this.#deps.store;
    if (this.#removed > mirrors.get(this.#mirror).recalled) mirrors.recalled(this.#mirror, this.#removed);
  }
}
