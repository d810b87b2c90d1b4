/** Sees whether an upload is running: `rrsync` holds an exclusive flock on its directory, which the kernel lists in /proc/locks. */
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { placeOf } from './walk.ts';

/** Which directory `path` names now (null: none), and whether an upload holds its lock. */
export async function seeUpload(path: string): Promise<{ readonly place: string | null; readonly uploading: boolean }> {
  const facts = await stat(path, { bigint: true }).catch(() => null);
  if (facts === null) return { place: null, uploading: false };
  return { place: placeOf(facts), uploading: isLocked(facts.dev, facts.ino) };
}

/** True when somebody holds an exclusive flock on the file with this device and inode. A kernel without the list says false. */
export function isLocked(device: bigint, inode: bigint): boolean {
  return hasLock(locksOfKernel(), device, inode);
}

/** Made by the kernel in microseconds: to have a thread do it would cost twenty times that, many times a second. */
function locksOfKernel(): string {
  try {
    return readFileSync('/proc/locks', 'latin1');
  } catch {
    return '';
  }
}

/** True when somebody holds an exclusive flock on the file with this device and inode, by the text of /proc/locks. */
export function hasLock(text: string, device: bigint, inode: bigint): boolean {
  return lockHolder(text, device, inode, 'FLOCK') !== null;
}

/**
 * The process that holds an exclusive lock on the file with this device and inode; null: nobody. Reads the text of /proc/locks:
 * `1: FLOCK  ADVISORY  WRITE 706 fd:00:2555 0 EOF`, device as hexadecimal major:minor (proc_locks(5)); lines with `->` are
 * waiters and hold nothing.
 */
export function lockHolder(text: string, device: bigint, inode: bigint, wanted: 'FLOCK' | 'POSIX'): number | null {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  const id = `${hex(major)}:${hex(minor)}:${inode}`;
  for (const line of text.split('\n')) {
    const [, kind, , mode, pid, file] = line.split(/\s+/);
    if (kind === wanted && mode === 'WRITE' && file === id) return Number(pid);
  }
  return null;
}

function hex(value: bigint): string {
  return value.toString(16).padStart(2, '0');
}
