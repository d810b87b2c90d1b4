/** Our sender against a real rsync: contents, orders, what little goes out, and that a wave waits for the one before. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sumsOfSame, tokensOf } from '../../src/replicate/rsync-blocks.ts';
import { sendFile } from '../../src/replicate/rsync-file.ts';
import { Pieces } from '../../src/replicate/rsync-literals.ts';
import { RsyncOutput } from '../../src/replicate/rsync-output.ts';
import type { PushFile } from '../../src/replicate/transport.ts';
import { systemClock } from '../../src/system/clock.ts';
import { startRsyncServer } from '../support/rsync-server.ts';
import { assertGood, makeWorld } from '../support/rsync-world.ts';
import { missingProgram } from '../support/sshd.ts';

const skip = missingProgram('rsync') ? 'rsync is absent' : false;

for (const version of [30, 31, 32]) {
  test(`version ${version}: 2,000 files of many directories, depths and lengths, each with its own content`, {
    skip,
  }, async (t) => {
    const world = makeWorld(t);
    const parts = ['a', 'a.b', 'a-b', 'A', 'ab', 'a b', 'ünï', 'b'.repeat(200), '~', '!', 'a0'];
    const files = Array.from({ length: 2000 }, (_, n) => {
      const path = Array.from(
        { length: (n % 4) + 1 },
        (_one, depth) => parts[(n * 7 + depth * (n % 13)) % parts.length],
      );
      return world.add(
        [...path.map((one) => `${one}.d`), `${parts[n % parts.length]}${n}`].join('/'),
        `content of ${n}`,
      );
    });
    files.push(world.add(`${'d'.repeat(250)}/${'e'.repeat(250)}/${'f'.repeat(250)}`, 'long'), world.add('empty', ''));
    const result = await world.send([files.slice(1000), files.slice(0, 1000)], {
      arguments: [`--protocol=${version}`],
    });
    assertGood(result);
    assert.equal(result.taken.size, files.length);
    for (const { path } of files)
      assert.equal(readFileSync(join(world.root, path), 'utf8'), readFileSync(join(world.source, path), 'utf8'), path);
    const { mtimeMs, mode } = statSync(join(world.root, 'empty'));
    assert.deepEqual([mtimeMs, mode & 0o7777], [1_700_000_000_000, 0o644]);
  });
}

test('a wave of more indexes than rsync asks for at a time waits for the packages behind them', { skip }, async (t) => {
  const world = makeWorld(t);
  const [packages, indexes]: [PushFile[], PushFile[]] = [[], []];
  for (let n = 0; n < 70; n++) {
    indexes.push(world.add(`r${n}/APKINDEX.tar.gz`, randomBytes(20_000)));
    packages.push(world.add(`r${n}/p.apk`, randomBytes(3000)));
  }
  assertGood(await world.send([packages, indexes]));
  for (const { path } of [...packages, ...indexes])
    assert.deepEqual(readFileSync(join(world.root, path)), readFileSync(join(world.source, path)), path);
});

test('no index lies there before the gate opens, and the packages do', { skip }, async (t) => {
  const world = makeWorld(t);
  const [index, one] = [world.add('r/APKINDEX.tar.gz', 'new'), world.add('r/p.apk', 'package')];
  const gate = Promise.withResolvers<void>();
  const sending = world.send([[one], [index]], { gate: gate.promise });
  for (let tries = 0; !existsSync(join(world.root, 'r/p.apk')); tries++) {
    assert.ok(tries < 6000, 'the package does not come');
    await sleep(10);
  }
  await sleep(300);
  assert.deepEqual(readdirSync(join(world.root, 'r')), ['p.apk']);
  gate.resolve();
  assertGood(await sending);
  assert.equal(readFileSync(join(world.root, 'r/APKINDEX.tar.gz'), 'utf8'), 'new');
});

test('a gate that is refused ends the run with its reason, and no index', { skip }, async (t) => {
  const world = makeWorld(t);
  const [index, one] = [world.add('r/APKINDEX.tar.gz', 'new'), world.add('r/p.apk', 'package')];
  const gate = Promise.reject(new Error('newer there'));
  gate.catch(() => {});
  await assert.rejects(world.send([[one], [index]], { gate }), /newer there/);
  assert.ok(!existsSync(join(world.root, 'r/APKINDEX.tar.gz')));
});

test('what is there already costs few bytes, and a changed block alone is sent', { skip }, async (t) => {
  const world = makeWorld(t);
  const content = randomBytes(10_000_000);
  const file = world.add('big', content);
  writeFileSync(join(world.root, 'big'), content);
  const same = await world.send([[file]]);
  assertGood(same);
  assert.ok(same.sent < 30_000, `${same.sent} bytes for nothing new`);
  content.fill(7, 5_000_000, 5_000_010);
  world.add('big', content);
  const changed = await world.send([[file]]);
  assertGood(changed);
  assert.ok(changed.sent - same.sent < 10_000, `${changed.sent} bytes for ten`);
  assert.deepEqual(readFileSync(join(world.root, 'big')), content);
});

test('the file there may be longer or shorter than ours, or end in the same place', { skip }, async (t) => {
  const world = makeWorld(t);
  for (const [ours, theirs] of [
    [1_000_000, 300_000],
    [300_000, 1_000_000],
    [700_001, 700_001],
    [1, 3_000_000],
    [0, 5000],
    [5000, 0],
    [701, 700],
  ] as const) {
    const content = randomBytes(Math.max(ours, theirs));
    const file = world.add('f', content.subarray(0, ours));
    writeFileSync(join(world.root, 'f'), content.subarray(0, theirs));
    assertGood(await world.send([[file]]));
    assert.deepEqual(readFileSync(join(world.root, 'f')), content.subarray(0, ours), `${ours} over ${theirs}`);
  }
});

test('no length announces more than 32 KiB of content', () => {
  const content = randomBytes(300_001);
  const nothing = { head: { count: 0, blockLength: 0, strongLength: 2, lastLength: 0 }, blocks: Buffer.alloc(0) };
  const bytes = Buffer.concat(tokensOf(nothing, 0, content, 0));
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readInt32LE(at);
    assert.ok(length > 0 && length <= 32_768, `${length} bytes`);
    found.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  assert.deepEqual(Buffer.concat(found), content);
});

test('one file of the last wave comes twice, and costs little', { skip }, async (t) => {
  for (const size of [0, 1, 1 << 17, (1 << 17) + 1, 600_000]) {
    const world = makeWorld(t);
    const content = randomBytes(size);
    const waves = [
      [world.add('d/p.apk', 'package')],
      [world.add('d/small', content), world.add('d/large', randomBytes(700_000))],
    ];
    const result = await world.send(waves, { lastTwice: true });
    assertGood(result);
    const little = result.sent - size - 700_007;
    assert.ok(little <= 4 * 64, `${little} bytes more than the files`);
    assert.deepEqual(readFileSync(join(world.root, 'd/small')), content);
  }
});

test('without confirmations what has gone out counts as there', { skip }, async (t) => {
  const world = makeWorld(t);
  const files = Array.from({ length: 100 }, (_, n) => world.add(`d/${n}`, `content of ${n}`));
  const tapped = startRsyncServer(world.root, [], ['--remove-source-files']);
  assertGood(await world.send([files], { remote: tapped.remote, confirms: false, lastTwice: true }));
  assert.ok(!tapped.heard().includes(Buffer.from([0, 4, 0, 0, 107])), 'none came');
  for (const { path } of files)
    assert.deepEqual(readFileSync(join(world.root, path)), readFileSync(join(world.source, path)));
});

/** Around the ends of what is read at a time, and of what stands behind one length. */
const longSizes = [262_143, 262_144, 262_145, 294_912, 294_913, 524_288, 5_000_001];

for (const hashed of [true, false]) {
  test(`long files come whole ${hashed ? 'with' : 'without'} a sum of them`, { skip }, async (t) => {
    const world = makeWorld(t);
    const contents = longSizes.map((size) => randomBytes(size));
    const files = contents.map((content, n) => world.add(`d/${n}`, content));
    assertGood(await world.send([files], { hashed, arguments: hashed ? [] : ['--checksum-choice=none'] }));
    for (const [n, content] of contents.entries())
      assert.ok(readFileSync(join(world.root, `d/${n}`)).equals(content), `${content.length} bytes`);
  });
}

test('without sums nothing is used of what lies there', { skip }, async (t) => {
  const world = makeWorld(t);
  const content = randomBytes(700_000);
  const files = [world.add('long', content), world.add('short', content.subarray(0, 200_000))];
  for (const { path } of files) writeFileSync(join(world.root, path), content.subarray(0, 600_000));
  const result = await world.send([files], { hashed: false, arguments: ['--checksum-choice=none'] });
  assertGood(result);
  assert.ok(result.sent >= 900_000, `${result.sent} bytes`);
  for (const { path, size } of files) assert.ok(readFileSync(join(world.root, path)).equals(content.subarray(0, size)));
});

test('what the other side says of blocks is of no account without sums', async (t) => {
  const world = makeWorld(t);
  const file = world.add('f', randomBytes(300_000));
  const wire = new PassThrough();
  const bytes = wire.toArray();
  await sendFile({
    file,
    source: { handle: await open(join(world.source, 'f')) },
    head: Buffer.alloc(3),
    sums: sumsOfSame(file.size),
    seed: 0,
    hashed: false,
    pieces: new Pieces(),
    output: new RsyncOutput(wire, systemClock, 60_000),
    pace: async () => {},
    onBytes: () => {},
  });
  wire.end();
  const said = Buffer.concat(await bytes);
  assert.deepEqual(said.subarray(4, 4 + 19), Buffer.alloc(19));
  assert.ok(said.length > file.size, `${said.length} bytes`);
});

test('a file that becomes shorter while it goes out ends the run before the index', { skip }, async (t) => {
  const world = makeWorld(t);
  const [long, index] = [world.add('r/p.apk', randomBytes(3_000_000)), world.add('r/APKINDEX.tar.gz', 'new')];
  let pieces = 0;
  const pace = async (): Promise<void> => {
    if (++pieces === 2) truncateSync(join(world.source, 'r/p.apk'), 1_000_000);
  };
  await assert.rejects(world.send([[long], [index]], { pace }), { reason: 'vanished' });
  for (const name of ['p.apk', 'APKINDEX.tar.gz']) assert.ok(!existsSync(join(world.root, 'r', name)), name);
});
