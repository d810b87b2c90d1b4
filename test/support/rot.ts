/** What a disk does to a file, and a scrub that is waited for. */
import assert from 'node:assert/strict';
import { open, stat, utimes } from 'node:fs/promises';
import type { ScrubStatus } from '../../src/observe/scrub.ts';
import type { Primary } from './primary.ts';

/** Changes one bit, and neither size nor time, as a disk does. */
export async function flipBit(path: string): Promise<void> {
  const { atime, mtime, size } = await stat(path);
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  const at = Math.floor(size / 2);
  await file.read(byte, 0, 1, at);
  byte.writeUInt8(byte.readUInt8(0) ^ 1);
  await file.write(byte, 0, 1, at);
  await file.close();
  await utimes(path, atime, mtime);
}

/** Several mirrors, each with its sessions, on a slow machine. */
const scrubMs = 300_000;

/** Asks for a scrub and waits for its report. */
export async function scrub(primary: Primary): Promise<ScrubStatus> {
  const { number } = (await primary.status()).scrub;
  assert.equal((await primary.control('scrub', {})).status, 202);
  await primary.until(
    'the scrub to end',
    async () => {
      const { scrub: now } = await primary.status();
      return now.number > number && !now.running && now.finished_at !== null;
    },
    scrubMs,
  );
  return (await primary.status()).scrub;
}
