/** Our sender against a real rsync: contents, orders, what little goes out, and that a wave waits for the one before. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type SendResult, type SendRun, sendFiles } from '../../src/replicate/rsync-sender.ts';
import type { PushFile } from '../../src/replicate/transport.ts';
import { systemClock } from '../../src/system/clock.ts';
import { startRsyncServer, type Tapped } from '../support/rsync-server.ts';
import { missingProgram } from '../support/sshd.ts';

const skip = missingProgram('rsync') ? 'rsync is absent' : false;

interface World {
  readonly source: string;
  readonly root: string;
  add(path: string, content: string | Buffer): PushFile;
  send(
    waves: readonly (readonly PushFile[])[],
    options?: Partial<SendRun> & { readonly arguments?: readonly string[] },
  ): Promise<SendResult & { readonly sent: number; readonly tapped: Tapped }>;
}

function makeWorld(t: TestContext): World {
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-sender-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const [source, root] = [join(base, 'source'), join(base, 'root')];
  mkdirSync(source);
  mkdirSync(root);
  return {
    source,
    root,
    add: (path, content) => {
      mkdirSync(dirname(join(source, path)), { recursive: true });
      writeFileSync(join(source, path), content);
      return { path, size: Buffer.byteLength(content), mtimeSeconds: 1_700_000_000 };
    },
    send: async (waves, { arguments: more = [], ...options } = {}) => {
      const tapped = startRsyncServer(root, more);
      let sent = 0;
      const result = await sendFiles({
        remote: tapped.remote,
        sourceRoot: source,
        waves,
        lastTwice: false,
        confirms: true,
        clock: systemClock,
        signal: new AbortController().signal,
        timeoutMs: 60_000,
        ...options,
        onBytes: (bytes) => {
          sent += bytes;
          options.onBytes?.(bytes);
        },
      });
      return { ...result, sent, tapped };
    },
  };
}

const good = { code: 0, remoteCode: 0, said: '', remoteStderr: '' };

function assertGood(result: SendResult): void {
  const { code, remoteCode, said, remoteStderr } = result;
  assert.deepEqual({ code, remoteCode, said, remoteStderr }, good);
}

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
  await sleep(500);
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

test('one file of the last wave comes twice, and all is well', { skip }, async (t) => {
  const world = makeWorld(t);
  const waves = [[world.add('d/p.apk', 'package')], [world.add('d/small', 'i'), world.add('d/large', 'index')]];
  const result = await world.send(waves, { lastTwice: true });
  assertGood(result);
  assert.equal(result.sent, 'packageiindexi'.length + 4 * 4);
  assert.equal(readFileSync(join(world.root, 'd/small'), 'utf8'), 'i');
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

test('a package that is not taken keeps the index back, and its reason is told', { skip }, async (t) => {
  const world = makeWorld(t);
  mkdirSync(join(world.root, 'r/p.apk/in-the-way'), { recursive: true });
  writeFileSync(join(world.root, 'r/APKINDEX.tar.gz'), 'old');
  const waves = [
    [world.add('r/p.apk', 'package'), world.add('r/q.apk', 'other')],
    [world.add('r/APKINDEX.tar.gz', 'new')],
  ];
  const { remoteCode, said, remoteStderr, taken, wavesDone } = await world.send(waves, { lastTwice: true });
  assert.equal(remoteCode, 23);
  assert.match(said + remoteStderr, /could not make way for .*p\.apk/);
  assert.deepEqual([...taken], ['r/q.apk']);
  assert.equal(wavesDone, 1);
  assert.equal(readFileSync(join(world.root, 'r/APKINDEX.tar.gz'), 'utf8'), 'old');
});

test('what the other side leaves as it is keeps the next wave back, without an error', { skip }, async (t) => {
  const world = makeWorld(t);
  writeFileSync(join(world.root, 'p.apk'), 'there');
  const waves = [[world.add('p.apk', 'package'), world.add('q.apk', 'other')], [world.add('i', 'new')]];
  const result = await world.send(waves, { lastTwice: true, arguments: ['--ignore-existing'] });
  assertGood(result);
  assert.deepEqual([[...result.taken], result.wavesDone], [['q.apk'], 1]);
  assert.ok(!existsSync(join(world.root, 'i')));
});

test('packages that fail when they have been sent end the run, not its patience', {
  skip,
  timeout: 20_000,
}, async (t) => {
  const world = makeWorld(t);
  writeFileSync(join(world.root, 'APKINDEX.tar.gz'), 'old');
  const waves = [[world.add('p.apk', 'package'), world.add('q.apk', 'other')], [world.add('APKINDEX.tar.gz', 'new')]];
  const aside = join(world.source, '.aside');
  mkdirSync(aside);
  const pace = async (): Promise<void> => rmSync(aside, { recursive: true, force: true });
  const { code, remoteCode, remoteStderr, taken } = await world.send(waves, {
    pace,
    arguments: [`--temp-dir=${aside}`],
  });
  assert.deepEqual([code, remoteCode], [23, 23]);
  assert.match(remoteStderr, /mkstemp .* failed: No such file or directory/);
  assert.deepEqual([...taken].sort(), ['p.apk', 'q.apk']);
  assert.equal(readFileSync(join(world.root, 'APKINDEX.tar.gz'), 'utf8'), 'old');
});

test('a word on stderr that means nothing holds nothing up', { skip }, async (t) => {
  const world = makeWorld(t);
  const waves = [[world.add('p.apk', 'package')], [world.add('APKINDEX.tar.gz', 'new')], [world.add('last', 'last')]];
  let said = 0;
  const gossip = new PassThrough();
  const tapped = startRsyncServer(world.root);
  const result = await sendFiles({
    sourceRoot: world.source,
    waves,
    lastTwice: true,
    confirms: true,
    clock: systemClock,
    timeoutMs: 60_000,
    remote: { ...tapped.remote, stderr: gossip },
    signal: new AbortController().signal,
    onBytes: (bytes) => {
      if (bytes > 0 && said++ === 0) gossip.write('a warning of nobody');
    },
  });
  assert.deepEqual([result.code, result.remoteCode, result.taken.size], [0, 0, 3]);
  assert.equal(readFileSync(join(world.root, 'last'), 'utf8'), 'last');
});

test('a full disk at the first package keeps the old index', { skip }, async (t) => {
  const world = makeWorld(t);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', world.root], { stdio: 'ignore' });
  } catch {
    return t.skip('no file system can be mounted here');
  }
  try {
    writeFileSync(join(world.root, 'APKINDEX.tar.gz'), 'old');
    const packages = [world.add('p.apk', randomBytes(1_000_000)), world.add('q.apk', 'small')];
    const { code, remoteCode, said, remoteStderr } = await world.send([
      packages,
      [world.add('APKINDEX.tar.gz', 'new')],
    ]);
    assert.deepEqual([code, remoteCode], [11, 11]);
    assert.match(said + remoteStderr, /No space left on device/);
    assert.equal(readFileSync(join(world.root, 'APKINDEX.tar.gz'), 'utf8'), 'old');
  } finally {
    execFileSync('umount', ['-l', world.root]);
  }
});

test('a source that is gone, or has another size, ends the run before the index', { skip }, async (t) => {
  const world = makeWorld(t);
  const [one, index] = [world.add('r/p.apk', 'package'), world.add('r/APKINDEX.tar.gz', 'new')];
  await assert.rejects(world.send([[{ ...one, size: 3 }], [index]]), { reason: 'vanished' });
  rmSync(join(world.source, 'r/p.apk'));
  await assert.rejects(world.send([[one], [index]]), { reason: 'vanished' });
  assert.ok(!existsSync(join(world.root, 'r/APKINDEX.tar.gz')));
});

test('a file that changes there while it is compared is asked for again, and comes whole', { skip }, async (t) => {
  const world = makeWorld(t);
  const [old, changed] = [randomBytes(400_000), randomBytes(400_000)];
  const [file, index] = [world.add('r/a', old), world.add('r/i', 'index')];
  mkdirSync(join(world.root, 'r'));
  writeFileSync(join(world.root, 'r/a'), old);
  let isChanged = false;
  // The first pace is asked for when the blocks there are known and none of them has been told.
  const pace = async (): Promise<void> => {
    if (!isChanged) writeFileSync(join(world.root, 'r/a'), changed);
    isChanged = true;
  };
  assertGood(await world.send([[file], [index]], { pace }));
  assert.deepEqual(readFileSync(join(world.root, 'r/a')), old);
});
