/** Wakes the ingest of one inbox when an index changes. Only a hint: events may be lost, the rescan finds what they missed. */
import { type FSWatcher, watch } from 'chokidar';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

export interface WatcherDeps {
  /** Told where; during a flood only once, with an empty path. */
  readonly onChange: (path: string) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** More events of the kernel than this in one window are no upload: each costs time and memory before anybody can look at it. */
const floodEvents = 2000;
const windowMs = 1000;
/** So long a flooded inbox is left to the rescan and to the end of its uploads. */
const floodPauseMs = 30_000;

/** Watches index files and the few directories above them, never directories of packages: the cost would grow with their number. */
export class IndexWatcher implements AsyncDisposable {
  readonly #deps: WatcherDeps;
  readonly #watched = new Set<string>();
  /** Null during a flood, and once it is over until the next paths are given. */
  #watcher: FSWatcher | null = null;
  #closing: Promise<void> = Promise.resolve();
  #disposed = false;
  #events = 0;
  #windowEndsAt = 0;
  #pausedUntil = 0;

  constructor(deps: WatcherDeps) {
    this.#deps = deps;
  }

  /**
   * From now on these paths are watched and no others; true when some were not before. A path need not exist. Does nothing during
   * a flood.
   */
  watch(paths: readonly string[]): boolean {
    if (this.#disposed || this.#deps.clock.monotonic() < this.#pausedUntil) return false;
    const wanted = new Set(paths);
    // What chokidar remembers of a directory goes only with the whole watcher.
    if (this.#watched.size > 0 && [...this.#watched].some((path) => !wanted.has(path))) this.#stop();
    const fresh = paths.filter((path) => !this.#watched.has(path));
    if (fresh.length === 0) return false;
    for (const path of fresh) this.#watched.add(path);
    this.#watcher ??= this.#start();
    this.#watcher.add(fresh);
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#stop();
    await this.#closing;
  }

  #start(): FSWatcher {
    const { log, onChange } = this.#deps;
    const watcher = watch([], {
      ignoreInitial: true,
      atomic: false,
      persistent: true,
      followSymlinks: false,
      depth: 0,
    });
    watcher.on('raw', () => this.#count());
    watcher.on('all', (event, path) => {
      if (this.#watcher !== watcher) return;
      if (event === 'unlink' || event === 'unlinkDir') this.#forget(watcher, path);
      onChange(path);
    });
    watcher.on('error', (error) => {
      log.error('watch_failed', {
        detail: String(error),
        hint: 'the rescan goes on; raise fs.inotify.max_user_watches if it is the limit',
      });
    });
    return watcher;
  }

  #stop(): void {
    const watcher = this.#watcher;
    this.#watcher = null;
    this.#watched.clear();
    // chokidar stops listening at once; what it still has under way ends by itself.
    if (watcher) this.#closing = Promise.all([this.#closing, watcher.close()]).then(() => undefined);
  }

  #count(): void {
    const now = this.#deps.clock.monotonic();
    if (now >= this.#windowEndsAt) {
      this.#windowEndsAt = now + windowMs;
      this.#events = 0;
    }
    if (++this.#events <= floodEvents || this.#watcher === null) return;
    this.#pausedUntil = now + floodPauseMs;
    const [first] = this.#watched;
    this.#deps.log.warn('watch_flooded', {
      path: first,
      detail: `more than ${floodEvents} file events a second: nothing is watched for ${floodPauseMs / 1000} s, the rescan goes on`,
    });
    this.#stop();
    this.#deps.onChange('');
  }

  /** What was removed is not watched any more, even when it is made again: the next `watch` starts anew. */
  #forget(watcher: FSWatcher, path: string): void {
    const gone = [...this.#watched].filter((watched) => watched === path || watched.startsWith(`${path}/`));
    for (const watched of gone) this.#watched.delete(watched);
    watcher.unwatch(gone);
  }
}
