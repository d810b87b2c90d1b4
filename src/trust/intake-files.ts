/** The system calls of an intake, on descriptors: at once for small files, through the thread pool for those that take time. */
import {
  close,
  closeSync,
  fchmod,
  fchmodSync,
  futimes,
  futimesSync,
  open,
  openSync,
  read,
  readSync,
  write,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';

type Result<T> = T | Promise<T>;

export interface IntakeFiles {
  /** Creates a file that must not exist, mode 0600. */
  create(path: string): Result<number>;
  /** Returns the bytes read into `buffer` from `start`, 0 at the end of the file. */
  read(fd: number, buffer: Buffer, start: number, length: number, position: number): Result<number>;
  /** Returns the bytes written. */
  write(fd: number, buffer: Buffer, start: number, length: number, position: number): Result<number>;
  setModeAndTime(fd: number, mode: number, mtimeSeconds: number): Result<void>;
  close(fd: number): Result<void>;
}

/** For files of one chunk, on a thread that has nothing else to do: a call takes less time than to hand it over. */
export const quickFiles: IntakeFiles = {
  create: (path) => openSync(path, 'wx', 0o600),
  read: (fd, buffer, start, length, position) => readSync(fd, buffer, start, length, position),
  write: (fd, buffer, start, length, position) => writeSync(fd, buffer, start, length, position),
  setModeAndTime: (fd, mode, mtimeSeconds) => {
    fchmodSync(fd, mode);
    futimesSync(fd, mtimeSeconds, mtimeSeconds);
  },
  close: closeSync,
};

const [openLater, readLater, writeLater] = [promisify(open), promisify(read), promisify(write)];
const [chmodLater, utimesLater, closeLater] = [promisify(fchmod), promisify(futimes), promisify(close)];

/** For large files: reading, writing and hashing go on side by side, and orders from outside are heard. */
export const patientFiles: IntakeFiles = {
  create: (path) => openLater(path, 'wx', 0o600),
  read: async (fd, buffer, start, length, position) => (await readLater(fd, buffer, start, length, position)).bytesRead,
  write: async (fd, buffer, start, length, position) =>
    (await writeLater(fd, buffer, start, length, position)).bytesWritten,
  setModeAndTime: async (fd, mode, mtimeSeconds) => {
    await chmodLater(fd, mode);
    await utimesLater(fd, mtimeSeconds, mtimeSeconds);
  },
  close: closeLater,
};
