/** Names the directory of a remote of rclone in which a push lays its files down before it renames them. */
import { createHash } from 'node:crypto';

/**
 * Where files wait, whole, until they are renamed; below the root, so that a rename never leaves the file system. Always the
 * same for one primary, which removes there what a push that was cut off has left, and another one for each: from a stage that
 * two share, each would show the index that the other has brought.
 */
export function stageOf(host: string, configFile: string): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([host, configFile]))
    .digest('hex');
  return `.lockstepd-push-${digest.slice(0, 8)}`;
}
