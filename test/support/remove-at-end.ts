/** Removes the directory of a test when everything that worked in it has ended. */
import { rm } from 'node:fs/promises';
import type { TestContext } from 'node:test';

/**
 * `t.after` runs its hooks in the order in which they came: a directory that was made first would be removed while what was started
 * in it still writes there, and the hooks behind a removal that fails (ENOTEMPTY) are not run at all. This comes behind every hook
 * that there is when the test ends.
 */
export function removeAtEnd(t: TestContext, directory: string): void {
  t.after(() => t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })));
}
