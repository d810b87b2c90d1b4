/** Our sender against other ends that are broken or hostile: each run ends, with words of its own, and holds little. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { listOf } from '../../src/replicate/rsync-list.ts';
import { RequestReader } from '../../src/replicate/rsync-requests.ts';
import { type SendResult, sendFiles } from '../../src/replicate/rsync-sender.ts';
import { frame, int32, message } from '../../src/replicate/rsync-wire.ts';
import type { Wave } from '../../src/replicate/transport.ts';
import { systemClock } from '../../src/system/clock.ts';
import type { SshCommand } from '../../src/system/ssh.ts';
import { sayServer, startRsyncServer } from '../support/rsync-server.ts';
import { missingProgram } from '../support/sshd.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const waves: readonly Wave[] = [
  [{ path: 'd/a', size: 3, mtimeSeconds: 1 }],
  [{ path: 'd/b', size: 3, mtimeSeconds: 1 }],
];
/** Places in the list, as steps from the one before the first. */
const [directory, first, second] = [1, 2, 3].map((step) => Buffer.from([step])) as [Buffer, Buffer, Buffer];
/** The place of `second`, said outright. */
const again = Buffer.from([0xfe, 0x80, 2, 0, 0]);

function makeSource(t: TestContext): string {
  const source = mkdtempSync(join(tmpdir(), 'lockstepd-hostile-'));
  removeAtEnd(t, source);
  mkdirSync(join(source, 'd'));
  for (const name of ['a', 'b']) writeFileSync(join(source, 'd', name), 'abc');
  return source;
}

function send(remote: SshCommand, sourceRoot: string, sent = waves): Promise<SendResult> {
  const signal = new AbortController().signal;
  const run = {
    remote,
    sourceRoot,
    waves: sent,
    hashed: true,
    lastTwice: true,
    confirms: true,
    clock: systemClock,
    signal,
    timeoutMs: 60_000,
  };
  return sendFiles({ ...run, onBytes: () => {} });
}

const greeting = (version = 31): Buffer => Buffer.concat([int32(version), Buffer.from([0]), int32(77)]);
const data = (...parts: readonly Buffer[]): Buffer => Buffer.concat(frame(message.data, Buffer.concat(parts)));
const flags = (value: number): Buffer => int32(value).subarray(0, 2);
const transfer = flags(0x8000);
const sums = (...head: readonly number[]): Buffer => Buffer.concat(head.map(int32));
const none = sums(0, 0, 0, 0);

const table: readonly (readonly [what: string, said: readonly Buffer[], code: number, words: RegExp])[] = [
  ['a shell that prints', [Buffer.from('Welcome to the mirror\n')], 2, /is your shell clean\?/],
  ['an rsync of before 2008', [int32(29)], 2, /speaks version 29 of the protocol, from before rsync 3\.0/],
  ['a version below zero', [int32(-1)], 2, /is your shell clean\?/],
  ['nothing at all', [], 12, /ended early/],
  ['garbage where frames begin', [greeting(), Buffer.alloc(100, 0xee)], 12, /sends what is no message/],
  ['a frame of a kind below all', [greeting(), Buffer.from([1, 0, 0, 0, 1])], 12, /sends what is no message/],
  ['a file beyond the list', [greeting(), data(Buffer.from([200]), transfer, none)], 2, /asks for file 199 of 3/],
  ['a file far beyond', [greeting(), data(Buffer.from([0xfe, 0xff, 1, 2, 3]))], 2, /asks for file \d+ of 3/],
  ['a number below zero', [greeting(), data(Buffer.from([0xff, 5]))], 2, /not agreed on/],
  ['a directory as a file', [greeting(), data(directory, transfer, none)], 2, /asks for directory 0 as a file/],
  ['a count below zero', [greeting(), data(first, transfer, sums(-1, 700, 2, 0))], 2, /knows a file by -1 blocks/],
  ['blocks of one byte', [greeting(), data(first, transfer, sums(2 ** 31 - 1, 1, 2, 0))], 2, /blocks of 1 bytes/],
  ['blocks of no byte', [greeting(), data(first, transfer, sums(1, 0, 2, 0))], 2, /blocks of 0 bytes/],
  ['blocks of a gigabyte', [greeting(), data(first, transfer, sums(1, 1 << 30, 2, 0))], 2, /knows a file by/],
  ['sums that are too long', [greeting(), data(first, transfer, sums(1, 700, 64, 0))], 2, /sums of 64/],
  ['sums below zero', [greeting(), data(first, transfer, sums(1, 700, -4, 0))], 2, /sums of -4/],
  ['a last block of more', [greeting(), data(first, transfer, sums(1, 700, 2, 701))], 2, /the last one of 701/],
  [
    'a name of a novel',
    [greeting(), data(first, flags(0x9000), Buffer.from([0xff, 0xff]))],
    2,
    /a name of 32767 bytes/,
  ],
  [
    'the same file twice while it waits',
    [greeting(), data(second, transfer, none, again, transfer, none)],
    2,
    /asks for file 2 twice/,
  ],
  ['requests without an end', [greeting(), data(Buffer.alloc(3), first, transfer, none)], 2, /does not end/],
  ['its last word', [greeting(), Buffer.concat(frame(message.errorExit, int32(11)))], 12, /gave up/],
];

for (const [what, said, code, words] of table) {
  test(`an other end that says ${what}`, { timeout: 120_000 }, async (t) => {
    const result = await send(sayServer(said, 0).remote, makeSource(t));
    assert.equal(result.code, code);
    assert.match(result.said, words);
  });
}

test('what has broken off is not waited for, whatever it goes on to say', { timeout: 120_000 }, async (t) => {
  const server = sayServer([Buffer.from('Welcome to the mirror\n')]);
  const timer = setInterval(() => server.say(Buffer.alloc(60_000, 'x')), 1);
  t.after(() => clearInterval(timer));
  const result = await send(server.remote, makeSource(t));
  assert.equal(result.code, 2);
});

test('what it has said before it shut its channel is told, though we had not said a word', async (t) => {
  const { remote } = sayServer([Buffer.from('Welcome to the mirror\n')], 0);
  remote.stream.end();
  const result = await send(remote, makeSource(t));
  assert.equal(result.code, 2);
  assert.match(result.said, /is your shell clean\?/);
});

test('sums beyond our file are not kept, however many are said', async () => {
  const count = 100_000;
  let said = data(first, transfer, sums(count, 700, 16, 0)).subarray(4);
  let longest = 0;
  let total = 0;
  const read = async (length: number): Promise<Buffer> => {
    longest = Math.max(longest, length);
    total += length;
    const part = said.subarray(0, length);
    said = said.subarray(length);
    return part.length === length ? part : Buffer.alloc(length, 1);
  };
  const list = listOf([{ path: 'd/a', size: 701, mtimeSeconds: 1 }]);
  const request = await new RequestReader(list, read).next();
  assert.equal(request?.sums?.blocks?.length, 2 * 20);
  assert.ok(total > count * 20 && longest <= 64 * 1024, `${total} bytes, ${longest} at a time`);
});

test('messages without an end are kept by their last 16 KiB, and escapes in them are the caller’s', async (t) => {
  const warning = Buffer.concat(frame(message.warning, Buffer.from(`\u001b[31m${'w'.repeat(10_000)}`)));
  const result = await send(
    sayServer([greeting(), ...Array.from({ length: 500 }, () => warning)], 0).remote,
    makeSource(t),
  );
  assert.equal(result.code, 12);
  assert.ok(result.said.length < 17_000, `${result.said.length} characters`);
});

test('a real run that is cut after any byte ends at once, and as a failure', { timeout: 300_000 }, async (t) => {
  if (missingProgram('rsync')) return t.skip('rsync is absent');
  const source = makeSource(t);
  const root = makeSource(t);
  writeFileSync(join(root, 'd/b'), randomBytes(3000));
  const real = startRsyncServer(root);
  assert.equal((await send(real.remote, source)).code, 0);
  const whole = real.heard();
  for (let cut = 0; cut < whole.length; cut++) {
    const result = await send(sayServer([whole.subarray(0, cut)], 0).remote, source);
    assert.ok(result.code !== 0, `code ${result.code} after ${cut} of ${whole.length}`);
  }
});
