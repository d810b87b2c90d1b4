/** Decides how many threads the process has for calls to file systems: a mirror's disk that hangs must not take them all. */

/** What one directory mirror whose file system hangs may keep, until it answers again. */
export const threadsOfHungDirectory = 2;

/** Node's four, and enough for fourteen hung directory mirrors; an idle one costs some kilobytes. */
const threads = 4 + 14 * threadsOfHungDirectory;

/** Call before anything else: the size is read when the first thread is needed. One that the operator has set stays. */
export function reserveThreads(env: Record<string, string | undefined>): void {
  env.UV_THREADPOOL_SIZE ??= String(threads);
}
