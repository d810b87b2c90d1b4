/** Sees whether an upload is running: `rrsync` holds an exclusive flock on its directory, which the kernel lists in /proc/locks. */
import { closeSync, openSync, read } from 'node:fs';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { errnoOf } from '../errors.ts';
import { placeOf } from './walk.ts';

/** Which directory `path` names now (null: none), and the process of the upload that holds its lock (null: none does). */
export async function seeUpload(
  path: string,
): Promise<{ readonly place: string | null; readonly uploader: number | null }> {
  const facts = await stat(path, { bigint: true }).catch(() => null);
  if (facts === null) return { place: null, uploader: null };
  return { place: placeOf(facts), uploader: await uploaderOf(facts.dev, facts.ino) };
}

/**
 * The process that holds an exclusive flock on the file with this device and inode; null: nobody, a process outside of our pid
 * namespace, or a kernel without the list.
 */
export async function uploaderOf(device: bigint, inode: bigint): Promise<number | null> {
  const { text, pieces } = await locksOfKernel();
  const holder = lockHolder(text, device, inode, 'FLOCK');
  if (holder !== null || pieces < 2) return holder;
  // Between two pieces the kernel goes on by the number of the line: a lock that goes meanwhile hides another one.
  return lockHolder((await locksOfKernel()).text, device, inode, 'FLOCK');
}

/** Whether there is such a process, whoever's it is. Numbers of 0 and below are none: they would mean groups. */
export function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

const readOnce = promisify(read);
/** The kernel gives no more at a time. */
const pieceBytes = 4096;

/**
 * Read by a thread, and seldom: the kernel lets nobody take or leave a lock while it makes the list, and waits some
 * milliseconds before it begins. Opened and closed here: that takes microseconds, a trip to a thread twenty times as many.
 */
async function locksOfKernel(): Promise<{ readonly text: string; readonly pieces: number }> {
  let list: number;
  try {
    list = openSync('/proc/locks', 'r');
  } catch {
    return { text: '', pieces: 0 };
  }
  try {
    const piece = Buffer.allocUnsafe(pieceBytes);
    let text = '';
    for (let pieces = 0; ; pieces++) {
      const { bytesRead } = await readOnce(list, piece, 0, pieceBytes, null);
      if (bytesRead === 0) return { text, pieces };
      text += piece.toString('latin1', 0, bytesRead);
    }
  } catch {
    return { text: '', pieces: 0 };
  } finally {
    closeSync(list);
  }
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
