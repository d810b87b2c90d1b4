/** Whether the disk of the root has room for what is to be written, beside the reserve. */
import { statfs } from 'node:fs/promises';

/** Names that must be left: a publish makes one for each package in two trees, and directories. */
const filesReserve = 1000;

export interface Need {
  readonly bytes: number;
  readonly files: number;
}

/** What lacks, as words that stay the same however the free space moves; null: there is room. */
export async function spaceProblem(root: string, need: Need, reserveBytes: number): Promise<string | null> {
  const { bavail, bsize, files, ffree } = await statfs(root);
  const bytesFit = bavail * bsize - need.bytes >= reserveBytes;
  // Some file systems count no files.
  const filesFit = files === 0 || ffree - need.files >= filesReserve;
  if (bytesFit && filesFit) return null;
  const what = bytesFit ? 'files' : `${need.bytes} bytes and ${reserveBytes} in reserve`;
  return `needs ${what}, which are not free below ${root}: make room`;
}
