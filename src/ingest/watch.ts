/** Wakes the ingest when an index changes. Only a hint: events may be lost, the rescan finds what they missed. */
import { type FSWatcher, watch } from 'chokidar';
import type { Log } from '../system/log.ts';

/** Watches index files and the few directories above them, never directories of packages: the cost would grow with their number. */
export class IndexWatcher implements AsyncDisposable {
  readonly #watcher: FSWatcher;
  readonly #watched = new Set<string>();

  constructor(onChange: (path: string) => void, log: Log) {
    this.#watcher = watch([], {
      ignoreInitial: true,
      atomic: false,
      persistent: true,
      followSymlinks: false,
      depth: 0,
    });
    this.#watcher.on('all', (event, path) => {
      if (event === 'unlink' || event === 'unlinkDir') this.#forget(path);
      onChange(path);
    });
    this.#watcher.on('error', (error) => {
      log.error('watch_failed', {
        detail: String(error),
        hint: 'the rescan goes on; raise fs.inotify.max_user_watches if it is the limit',
      });
    });
  }

  /** Adds paths that are not watched yet; true when there were any. A path need not exist. */
  add(paths: readonly string[]): boolean {
    const fresh = paths.filter((path) => !this.#watched.has(path));
    if (fresh.length === 0) return false;
    for (const path of fresh) this.#watched.add(path);
    this.#watcher.add(fresh);
    return true;
  }

  /** What was removed is not watched any more, even when it is made again: the next `add` starts anew. */
  #forget(path: string): void {
    const gone = [...this.#watched].filter((watched) => watched === path || watched.startsWith(`${path}/`));
    for (const watched of gone) this.#watched.delete(watched);
    this.#watcher.unwatch(gone);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watcher.close();
  }
}
