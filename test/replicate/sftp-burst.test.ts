/** Files that are written with foretold handles: what goes out when, and that no wrong byte ever gets a name. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { canBurst, uploadBurst } from '../../src/replicate/sftp-burst.ts';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import type { Upload } from '../../src/replicate/sftp-upload.ts';
import { TransportError } from '../../src/errors.ts';
import { systemClock } from '../../src/system/clock.ts';
import { openFlag, status } from '../../src/system/ssh-sftp-wire.ts';
import { SftpTable, type TableOptions } from './sftp-table.ts';

interface Start {
  readonly server: SftpTable;
  readonly upload: Upload;
  readonly known: ReadonlySet<string>;
}

/** `waves` name files, each of which has its path as its content, twenty times. */
async function start(
  t: TestContext,
  waves: readonly (readonly string[])[],
  options: TableOptions & Partial<Upload> = {},
): Promise<Start> {
  const { server, session } = await SftpTable.start(options);
  // A first answer is needed before anything is foretold.
  if (options.handles !== 'names') {
    const handle = await session.open('/first', openFlag.write | openFlag.create, 0o644).catch(() => undefined);
    if (handle) await session.close(handle);
  }
  server.files.clear();
  server.seen.length = 0;
  const sourceRoot = mkdtempSync(join(tmpdir(), 'lockstepd-burst-'));
  t.after(() => rmSync(sourceRoot, { recursive: true, force: true }));
  const wavesOf = waves.map((wave) =>
    wave.map((path) => {
      mkdirSync(join(sourceRoot, dirname(path)), { recursive: true });
      writeFileSync(join(sourceRoot, path), path.repeat(20));
      return { path, size: path.length * 20, mtimeSeconds: 1 };
    }),
  );
  const { signal } = new AbortController();
  const common = { root: '/', sourceRoot, waves: wavesOf, fsync: true, clock: systemClock, signal, onBytes: () => {} };
  return { server, upload: { ...common, session, ...options }, known: new Set(['.']) };
}

const contentOf = (...paths: string[]): Record<string, string> =>
  Object.fromEntries(paths.map((path) => [`/${path}`, path.repeat(20)]));

async function settle(): Promise<void> {
  for (let n = 0; n < 50; n++) await turn();
}

test('all that makes the files goes out before the first answer, and each wave of names with one round trip', async (t) => {
  const { server, upload, known } = await start(t, [['a', 'b'], ['i']]);
  assert.ok(canBurst(upload, known));
  server.holds = true;
  const done = uploadBurst(upload);
  await settle();
  const names = ['a', 'b', 'i'];
  const sent = [
    ...names.map((name) => `open /.${name}`),
    ...names.flatMap((name) => [`write /.${name}`, `fsetstat /.${name}`]),
    ...names.map((name) => `fsync /.${name}`),
  ];
  assert.deepEqual(server.seen, sent);
  assert.deepEqual(server.shown, {});
  server.release();
  server.holds = true;
  await settle();
  assert.deepEqual(server.seen.slice(sent.length), ['posix-rename /.a', 'posix-rename /.b']);
  server.release();
  assert.equal(await done, true);
  await settle();
  assert.deepEqual(server.seen.slice(sent.length + 2), [
    'posix-rename /.i',
    'fsync /.i',
    ...names.map((name) => `close /.${name}`),
  ]);
  assert.deepEqual(server.shown, contentOf('a', 'b', 'i'));
  assert.equal(server.openHandles, 0);
});

test('a file gets its name when its own answers are there, and no index before every package has its own', async (t) => {
  const { server, upload } = await start(t, [['a', 'b'], ['i']]);
  const other = await SftpTable.start({ sharing: server });
  await other.session.close(await other.session.openDirectory('/'));
  other.server.holds = true;
  const done = uploadBurst({ ...upload, others: [other.session] });
  await settle();
  assert.deepEqual(other.server.seen.slice(2), ['open /.b', 'write /.b', 'fsetstat /.b', 'fsync /.b']);
  assert.deepEqual(server.shown, contentOf('a'));
  other.server.release();
  assert.equal(await done, true);
  await settle();
  assert.deepEqual(server.shown, contentOf('a', 'b', 'i'));
  assert.deepEqual(
    server.seen.filter((one) => one.startsWith('posix-rename')),
    ['posix-rename /.a', 'posix-rename /.b', 'posix-rename /.i'],
  );
  assert.deepEqual([server.openHandles, other.server.openHandles], [0, 0]);
});

test('a burst that failed does not end before every answer is there: a handle may be given out anew', async (t) => {
  const { server, upload } = await start(t, [['a'], ['b', 'i']], { refuse: nth('fsync', 1) });
  const other = await SftpTable.start({ sharing: server });
  await other.session.close(await other.session.openDirectory('/'));
  other.server.holds = true;
  let isOver = false;
  const done = uploadBurst({ ...upload, others: [other.session] }).finally(() => (isOver = true));
  await settle();
  assert.ok(other.server.seen.includes('write /.b') && !isOver);
  other.server.release();
  assert.equal(await done, false);
  assert.deepEqual([server.shown, server.hidden], [{}, []]);
});

test('the last sync is behind every rename, whichever session answers first', async (t) => {
  const { server, upload } = await start(t, [['i', 'j', 'trace']]);
  const other = await SftpTable.start({ sharing: server });
  await other.session.close(await other.session.openDirectory('/'));
  other.server.holds = true;
  const done = uploadBurst({ ...upload, others: [other.session] });
  await settle();
  other.server.release();
  assert.equal(await done, true);
  const named = server.seen.filter((one) => one.startsWith('posix-rename'));
  assert.equal(named.at(-1), 'posix-rename /.trace');
  const after = server.seen.slice(server.seen.indexOf('posix-rename /.trace') + 1);
  assert.deepEqual([named.length, after[0]], [3, 'fsync /.trace']);
  assert.ok(!after.some((one) => one.startsWith('posix-rename')));
});

test('a session that foretells nothing is left out', async (t) => {
  const { server, upload } = await start(t, [['a', 'b'], ['i']]);
  const other = await SftpTable.start({ sharing: server });
  assert.equal(await uploadBurst({ ...upload, others: [other.session] }), true);
  assert.deepEqual(other.server.seen, []);
  assert.deepEqual(server.shown, contentOf('a', 'b', 'i'));
});

test('a session is used again and again', async (t) => {
  const { server, upload, known } = await start(t, [['a', 'b'], ['i']]);
  for (let n = 0; n < 5; n++) {
    assert.ok(canBurst(upload, known));
    assert.equal(await uploadBurst(upload), true);
    assert.deepEqual(server.shown, contentOf('a', 'b', 'i'));
    server.files.clear();
  }
});

test('a put right after another writes nothing to a file whose close is refused', async (t) => {
  const refuse: NonNullable<TableOptions['refuse']> = (name) =>
    name === 'close' && isOver ? status.failure : undefined;
  let isOver = false;
  const { server, upload } = await start(t, [['a']], { refuse });
  const { session, sourceRoot, waves, signal } = upload;
  const connection = { sftp: async () => session, spareSftp: () => [], reset: () => {}, close: async () => {} };
  const hostKeys = [`SHA256:${'A'.repeat(43)}`];
  const target = { host: 'mirror', port: 22, user: 'mirror', identity: '/key', hostKeys };
  const transport = createSftpTransport({ target, path: '/' }, connection);
  await transport.put(sourceRoot, waves, { signal });
  isOver = true;
  await transport.put(sourceRoot, waves, { signal });
  writeFileSync(join(sourceRoot, 'b'), 'two');
  // The usual way, which hears of its own close.
  await transport.put(sourceRoot, [[{ path: 'b', size: 3, mtimeSeconds: 1 }]], { signal }).catch(() => {});
  assert.deepEqual(server.shown, { ...contentOf('a'), '/b': 'two' });
});

test('without syncs nothing is synced', async (t) => {
  const { server, upload } = await start(t, [['a'], ['i']], { fsync: false });
  assert.equal(await uploadBurst(upload), true);
  assert.ok(!server.seen.some((one) => one.startsWith('fsync')));
  assert.deepEqual(server.shown, contentOf('a', 'i'));
});

test('without syncs a file whose close is refused gets no name', async (t) => {
  const { server, upload } = await start(t, [['a', 'b'], ['i']], { fsync: false, refuse: nth('close', 2) });
  assert.equal(await uploadBurst(upload), false);
  await settle();
  assert.ok(!('/i' in server.shown) && Object.keys(server.shown).length < 2);
  assert.deepEqual(server.hidden, []);
});

test('an empty file is made too', async (t) => {
  const { server, upload } = await start(t, [['a']]);
  writeFileSync(join(upload.sourceRoot, 'a'), '');
  assert.equal(await uploadBurst({ ...upload, waves: [[{ path: 'a', size: 0, mtimeSeconds: 1 }]] }), true);
  assert.deepEqual(server.shown, { '/a': '' });
});

test('the last wave waits for the gate, and a gate that stays closed leaves no index', async (t) => {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { server, upload } = await start(t, [['a'], ['i']], { gate: promise });
  const done = uploadBurst(upload);
  await settle();
  assert.deepEqual(Object.keys(server.shown), ['/a']);
  resolve();
  assert.equal(await done, true);
  assert.deepEqual(Object.keys(server.shown), ['/a', '/i']);
  reject();

  const closed = Promise.reject(new TransportError('ahead', 'permanent', 'another primary'));
  closed.catch(() => {});
  const other = await start(t, [['a'], ['i']], { gate: closed });
  await assert.rejects(uploadBurst(other.upload), /another primary/);
  await settle();
  assert.deepEqual([Object.keys(other.server.shown), other.server.hidden, other.server.openHandles], [['/a'], [], 0]);
});

test('only a few files for known directories, and only where the handle can be foretold', async (t) => {
  const { upload, known } = await start(t, [['a']]);
  const wave = (length: number, size: number, path = 'a') => [
    Array.from({ length }, () => ({ path, size, mtimeSeconds: 1 })),
  ];
  assert.equal(canBurst({ ...upload, waves: wave(64, 1024 * 1024) }, known), true);
  assert.equal(canBurst({ ...upload, waves: wave(65, 1) }, known), false);
  assert.equal(canBurst({ ...upload, waves: wave(2, 33 * 1024 * 1024) }, known), false);
  assert.equal(canBurst({ ...upload, waves: wave(1, 1, 'd/a') }, known), false);
  const { session } = await SftpTable.start();
  assert.equal(canBurst({ ...upload, session }, known), false, 'before a first answer');
});

for (const handles of ['numbers', 'names'] as const) {
  test(`a server that gives ${handles} of its own changes no name, and keeps nothing`, async (t) => {
    const { server, upload, known } = await start(t, [['a', 'b'], ['i']], { handles });
    if (handles === 'numbers') {
      assert.ok(canBurst(upload, known), 'the first handle was as foreseen');
      assert.equal(await uploadBurst(upload), false);
      await settle();
      assert.deepEqual([server.shown, server.hidden, server.openHandles], [{}, [], 0]);
    }
    const handle = await upload.session.open('/x', openFlag.write | openFlag.create, 0o644);
    await upload.session.close(handle);
    assert.equal(canBurst(upload, known), false, 'and is not asked again');
  });
}

/** The n-th request of this name is refused. */
function nth(name: string, n: number, code: number = status.failure): NonNullable<TableOptions['refuse']> {
  let left = n;
  return (request, path) => (request === name && path !== '/first' && --left === 0 ? code : undefined);
}

for (const request of ['open', 'write', 'fsetstat', 'fsync', 'posix-rename']) {
  for (const n of [1, 2, 3, 4]) {
    test(`what is refused, ${request} ${n}, leaves all to the usual way, and nothing wrong has a name`, async (t) => {
      const { server, upload } = await start(t, [['a', 'b', 'c', 'd'], ['i']], { refuse: nth(request, n) });
      assert.equal(await uploadBurst(upload), false);
      await settle();
      const whole = contentOf('a', 'b', 'c', 'd');
      for (const [path, content] of Object.entries(server.shown)) assert.equal(content, whole[path], 'and no index');
      assert.deepEqual([server.hidden, server.openHandles], [[], 0]);
      assert.ok(Object.keys(server.shown).length < 4, 'the file that was refused has no name');
    });
  }
}

test('the burst after an open that was refused has its bytes in the right files', async (t) => {
  const refuse = nth('open', 3);
  const { server, upload, known } = await start(t, [['a', 'bb', 'ccc', 'dddd'], ['i']], { refuse });
  assert.equal(await uploadBurst(upload), false);
  await settle();
  assert.ok(canBurst(upload, known));
  assert.equal(await uploadBurst(upload), true);
  assert.deepEqual(server.shown, contentOf('a', 'bb', 'ccc', 'dddd', 'i'));
});

test('a source that is not as planned is told, and nothing gets a name', async (t) => {
  const { server, upload } = await start(t, [['a', 'b'], ['i']]);
  writeFileSync(join(upload.sourceRoot, 'b'), 'shorter');
  await assert.rejects(uploadBurst(upload), (error) => error instanceof TransportError && error.reason === 'vanished');
  await settle();
  assert.deepEqual([server.shown, server.hidden, server.openHandles], [{}, [], 0]);
});

test('no name changes after an abort', async (t) => {
  const stop = new AbortController();
  const { server, upload } = await start(t, [['a'], ['i']], { signal: stop.signal });
  server.holds = true;
  const done = uploadBurst(upload);
  await settle();
  stop.abort(new Error('enough'));
  server.release();
  await assert.rejects(done, /enough/);
  await settle();
  assert.deepEqual([server.shown, server.hidden, server.openHandles], [{}, [], 0]);
});

test('nothing is sent with a foretold handle after an abort: it may be another file by then', async (t) => {
  const stop = new AbortController();
  const { server, upload } = await start(t, [['a', 'b'], ['i']], { signal: stop.signal });
  // Longer than one write, so read by a thread while the abort comes.
  writeFileSync(join(upload.sourceRoot, 'a'), 'a'.repeat(60_000));
  const waves = [[{ path: 'a', size: 60_000, mtimeSeconds: 1 }, ...(upload.waves[0]?.slice(1) ?? [])]];
  const done = uploadBurst({ ...upload, waves });
  stop.abort(new Error('enough'));
  await assert.rejects(done, /enough/);
  await settle();
  assert.deepEqual(
    server.seen.filter((one) => !/^(open|remove|close) /.test(one)),
    [],
  );
  assert.deepEqual([server.hidden, server.openHandles], [[], 0]);
});

test('each sync that is answered is a sign of life: on a slow disk nothing else comes for a long time', async (t) => {
  let signs = 0;
  const { server, upload } = await start(t, [['a', 'b'], ['i']], { onBytes: () => (signs += 1) });
  server.holds = true;
  const done = uploadBurst(upload);
  await settle();
  // Of each file the open, the write and the attributes.
  server.release(9);
  await settle();
  for (let synced = 0; synced < 2; synced++) {
    const before = signs;
    server.release(1);
    await settle();
    assert.equal(signs, before + 1);
  }
  server.release();
  assert.equal(await done, true);
});

test('a session that is lost on the way is told of', async (t) => {
  const { server, upload } = await start(t, [['a'], ['i']]);
  server.holds = true;
  const done = uploadBurst(upload);
  await settle();
  upload.session.end();
  await assert.rejects(done, /lost/);
});
