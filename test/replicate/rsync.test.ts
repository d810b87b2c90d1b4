/** What only the rsync transport does: older rsyncs at the mirror, comparing without sending, nothing left running. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TransportError } from '../../src/errors.ts';
import { createRsyncTransport } from '../../src/replicate/rsync.ts';
import type { PushFile, Transport } from '../../src/replicate/transport.ts';
import { mirrorRrsync as rrsync, rrsyncKnows, rsyncKnows } from '../support/mirror-rsync.ts';
import { missingProgram, startSshd } from '../support/sshd.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const missing = missingProgram('sshd', 'rsync', 'ssh-keygen');
const skip = missing ? `${missing} is absent` : false;
const never = new AbortController().signal;

async function start(
  t: TestContext,
  script?: string,
  path?: string,
  name = 'root',
  stallMs = 60_000,
): Promise<{ base: string; root: string; source: string; transport: Transport }> {
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-rsync-'));
  removeAtEnd(t, base);
  const [root, source, command] = [join(base, name), join(base, 'source'), join(base, 'command')];
  mkdirSync(root);
  mkdirSync(source);
  if (script !== undefined) writeFileSync(command, `#!/bin/sh\n${script}\n`);
  if (script !== undefined) chmodSync(command, 0o755);
  const sshd = await startSshd({ mirror: script === undefined ? null : `${command} ${base}` });
  t.after(() => sshd[Symbol.asyncDispose]());
  const { host, port, user, hostKeyFingerprint } = sshd;
  const target = { host, port, user, identity: sshd.identity('mirror'), hostKeys: [hostKeyFingerprint] };
  const transport = createRsyncTransport({ target, path: path ?? root, stallMs });
  t.after(() => transport.close());
  return { base, root, source, transport };
}

/** Does what the client asked for, and notes it. */
const note = 'echo "$SSH_ORIGINAL_COMMAND" >> "$1/log"';

test('an rsync that does not know --fsync is used without it', { skip }, async (t) => {
  const refuse = 'case "$SSH_ORIGINAL_COMMAND" in *--fsync*) echo "rsync: --fsync: unknown option" >&2; exit 1;; esac';
  const { base, root, source, transport } = await start(t, `${note}\n${refuse}\nexec sh -c "$SSH_ORIGINAL_COMMAND"`);
  for (const content of ['one', 'two']) {
    writeFileSync(join(source, 'a'), content);
    await transport.put(source, [[{ path: 'a', size: 3, mtimeSeconds: 1 }]], { signal: never });
    assert.equal(readFileSync(join(root, 'a'), 'utf8'), content);
  }
  const asked = readFileSync(join(base, 'log'), 'utf8').trim().split('\n');
  assert.deepEqual(
    asked.map((line) => line.includes('--fsync')),
    [true, false, false],
  );
});

/** What 3.4.3 says, and Debian's 3.2.7 and 3.4.1 with its patches of May 2026. */
const refusesMissing = `case "$SSH_ORIGINAL_COMMAND" in *--delete-missing-args*)
  cat > /dev/null &
  echo "invalid file mode 00 for d/a [Receiver]" >&2
  echo "rsync error: protocol incompatibility (code 2) at flist.c(874) [Receiver=3.2.7]" >&2
  exit 2 ;;
esac`;

test('an rsync that takes missing names for a broken protocol is told by rules what to remove, and removes nothing else', {
  skip,
}, async (t) => {
  const { base, root, transport } = await start(t, `${note}\n${refusesMissing}\nexec sh -c "$SSH_ORIGINAL_COMMAND"`);
  const gone = [
    'a',
    'd/a',
    'd/x*',
    'd/e[1]?',
    'd/back\\slash',
    'd/back\\*',
    'd/e/new\nline',
    'd/ space',
    'd/#a',
    'd/- a',
  ];
  const stays = ['b', 'd/b', 'd/xy', 'd/e12', 'd/e/a', 'd/f/a', 'da', 'd/back', 'd/back\\x', 'd/e/new', 'o/a'];
  for (const directory of ['d/e', 'd/f', 'o']) mkdirSync(join(root, directory), { recursive: true });
  for (const path of [...gone, ...stays]) writeFileSync(join(root, path), path);
  const before = everythingIn(root);
  await transport.remove([...gone, 'd/absent', 'absent/a'], { signal: never });
  assert.deepEqual(
    everythingIn(root),
    before.filter((path) => !gone.includes(path)),
  );
  await transport.remove(['d/b'], { signal: never });
  const asked = readFileSync(join(base, 'log'), 'utf8').trim().split('\n');
  assert.deepEqual(
    asked.flatMap((line, n) => (line.includes('--delete-missing-args') ? [n] : [])),
    [0],
    'it is asked once',
  );
  const many = Array.from({ length: 1200 }, (_, n) => `o/many-${n}`);
  for (const path of many) writeFileSync(join(root, path), path);
  await transport.remove(many, { signal: never });
  assert.deepEqual(readdirSync(join(root, 'o')), ['a']);
});

test('a removal by rules leaves links to directories, files in the place of directories, and directories', {
  skip,
}, async (t) => {
  const { root, transport } = await start(t, `${refusesMissing}\nexec sh -c "$SSH_ORIGINAL_COMMAND"`);
  for (const directory of ['disk/sub', 'd/a.apk', 'd/full']) mkdirSync(join(root, directory), { recursive: true });
  for (const path of ['disk/a', 'disk/b', 'disk/sub/a', 'disk/sub/b', 'd/full/a', 'd/b', 'file'])
    writeFileSync(join(root, path), path);
  symlinkSync('disk', join(root, 'link'));
  symlinkSync('nowhere', join(root, 'broken'));
  symlinkSync('b', join(root, 'd/to-b'));
  const gone = ['link/a', 'link/sub/a', 'file/a', 'file/x/a', 'broken/a', 'd/a.apk', 'd/full', 'd/to-b', 'nothing/x/a'];
  await transport.remove(gone, { signal: never });
  const left =
    'broken d d/a.apk d/b d/full d/full/a disk disk/b disk/sub disk/sub/b file link link/b link/sub link/sub/b';
  assert.equal(readdirSync(root, { recursive: true }).map(String).sort(byBytes).join(' '), left);
  assert.equal(readlinkSync(join(root, 'link')), 'disk');
  assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'file');
  rmSync(root, { recursive: true });
  await assert.rejects(transport.remove(['d/b'], { signal: never }), { name: 'TransportError' });
});

const byBytes = (a: string, b: string): number => (a < b ? -1 : 1);

/** Paths of all files below a directory, sorted. */
function everythingIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => relative(directory, join(one.parentPath, one.name)))
    .sort();
}

test('a mirror that ends with an error after all is no success', { skip }, async (t) => {
  const { source, transport } = await start(t, 'sh -c "$SSH_ORIGINAL_COMMAND"; exit 23');
  writeFileSync(join(source, 'a'), 'one');
  await assert.rejects(
    transport.put(source, [[{ path: 'a', size: 3, mtimeSeconds: 1 }]], { signal: never }),
    (error) => error instanceof TransportError && error.reason === 'partial',
  );
});

test('what a gate keeps back has not come before it opens', { skip }, async (t) => {
  const { root, source, transport } = await start(t);
  writeFileSync(join(source, 'index'), 'new');
  writeFileSync(join(root, 'index'), 'theirs');
  const gate = Promise.reject(new TransportError('ahead', 'retryable', 'newer there'));
  gate.catch(() => {});
  const { size, mtimeMs } = statSync(join(source, 'index'));
  const index = { path: 'index', size, mtimeSeconds: Math.floor(mtimeMs / 1000) };
  await assert.rejects(transport.put(source, [[index]], { signal: never, gate }), { reason: 'ahead' });
  assert.equal(readFileSync(join(root, 'index'), 'utf8'), 'theirs');
});

/** Of each run that was asked for, whether it was to do without sums; a run that was refused its --fsync is not counted. */
function unhashed(base: string): boolean[] {
  const asked = readFileSync(join(base, 'log'), 'utf8').trim().split('\n');
  const tried = asked.filter((line) => line.includes('--fsync') === rsyncKnows('--fsync'));
  return tried.map((line) => line.includes('--checksum-choice=none'));
}

/** Bytes of a wave that is large. */
const large = 65 * 1024 * 1024;

test('more than 64 MiB that are there already are compared by size and second, not read or sent', {
  skip,
}, async (t) => {
  const { root, source, transport } = await start(t);
  const size = large;
  for (const directory of [source, root]) {
    writeFileSync(join(directory, 'big'), Buffer.alloc(size, directory === root ? 'r' : 's'));
    utimesSync(join(directory, 'big'), 1000, 1000);
  }
  const { ino } = statSync(join(root, 'big'));
  let bytes = 0;
  await transport.put(source, [[{ path: 'big', size, mtimeSeconds: 1000 }]], {
    signal: never,
    onBytes: (n) => (bytes += n),
  });
  assert.equal(statSync(join(root, 'big')).ino, ino);
  assert.ok(bytes < 10_000, `${bytes} bytes`);
});

test('an rsync that insists on sums gets them', { skip }, async (t) => {
  const refuse =
    'case "$SSH_ORIGINAL_COMMAND" in *--checksum-choice*) echo "rsync: --checksum-choice=none: unknown option" >&2; exit 1;; esac';
  const { base, root, source, transport } = await start(t, `${note}\n${refuse}\nexec sh -c "$SSH_ORIGINAL_COMMAND"`);
  for (const path of ['one', 'two']) {
    writeFileSync(join(source, path), randomBytes(large));
    await transport.put(source, [[{ path, size: large, mtimeSeconds: 1 }]], { signal: never });
    assert.ok(readFileSync(join(root, path)).equals(readFileSync(join(source, path))), path);
  }
  assert.deepEqual(unhashed(base), [true, false, false]);
});

test('much that must not be taken for equal is compared, and little of it sent', { skip }, async (t) => {
  const { root, source, transport } = await start(t);
  const content = randomBytes(large);
  for (const directory of [source, root]) {
    if (directory === root) content.fill(7, 40_000_000, 40_000_100);
    writeFileSync(join(directory, 'big'), content);
    utimesSync(join(directory, 'big'), 1000, 1000);
  }
  let bytes = 0;
  await transport.put(source, [[{ path: 'big', size: large, mtimeSeconds: 1000 }]], {
    signal: never,
    anew: true,
    onBytes: (n) => (bytes += n),
  });
  assert.ok(readFileSync(join(root, 'big')).equals(readFileSync(join(source, 'big'))));
  assert.ok(bytes < 1_000_000, `${bytes} bytes`);
});

test('a large wave of many files goes in runs that hold a part of them', { skip }, async (t) => {
  const { base, root, source, transport } = await start(t, `${note}\nexec sh -c "$SSH_ORIGINAL_COMMAND"`);
  const content = randomBytes(17_000);
  const files = Array.from({ length: 4100 }, (_, n) => {
    const path = `${n}.apk`;
    content.writeUInt32LE(n);
    writeFileSync(join(source, path), content);
    return { path, size: content.length, mtimeSeconds: 1000 };
  });
  const index = { path: 'APKINDEX.tar.gz', size: 3, mtimeSeconds: 1000 };
  writeFileSync(join(source, index.path), 'new');
  await transport.put(source, [files, [index]], { signal: never });
  assert.equal(readdirSync(root).length, 4101);
  for (const { path } of files)
    assert.ok(readFileSync(join(root, path)).equals(readFileSync(join(source, path))), path);
  assert.deepEqual(unhashed(base), [true, true, false]);
});

test('a source that is gone is an error of our side', { skip }, async (t) => {
  const { source, transport } = await start(t);
  rmSync(source, { recursive: true });
  await assert.rejects(
    transport.put(source, [[{ path: 'a', size: 3, mtimeSeconds: 1 }]], { signal: never }),
    (error) => error instanceof TransportError && error.reason === 'vanished' && error.message.includes(source),
  );
});

test('an abort leaves no rsync and no copier behind', { skip }, async (t) => {
  const { transport } = await start(t, 'sleep 60');
  const stop = new AbortController();
  const listing = transport.list('a', { signal: stop.signal });
  const ours = (): string[] =>
    execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes('rsync -e'));
  while (ours().length === 0) await sleep(5);
  await sleep(50);
  stop.abort(new Error('enough'));
  await assert.rejects(listing, /enough/);
  for (let tries = 0; ours().length > 0; tries++) {
    assert.ok(tries < 3000, `still there: ${ours().join()}`);
    await sleep(10);
  }
});

test('an account that prints at login, or has no rsync, says so', { skip }, async (t) => {
  const { source, transport } = await start(t, 'exit 127');
  writeFileSync(join(source, 'a'), 'one');
  await assert.rejects(
    transport.put(source, [[{ path: 'a', size: 3, mtimeSeconds: 1 }]], { signal: never }),
    (error) => error instanceof TransportError && error.reason === 'remote_shell' && error.kind === 'permanent',
  );
});

/** Why a test with such an rrsync cannot run here. */
const without = (option: string): string | false => {
  if (skip || rrsync === undefined) return skip || 'rrsync is absent';
  return !rrsyncKnows(option) && `known: rrsync has no ${option}`;
};

test('what an rrsync may refuse: -no-del costs a run for each wave, -munge is nothing', {
  skip: without('-no-del'),
}, async (t) => {
  for (const [options, runs] of [
    ['-wo -munge', 1],
    ['-wo -no-del', 2],
    ['-no-del -munge', 2],
  ] as const) {
    const { base, root, source, transport } = await start(
      t,
      `echo run >> "$1/log"\nexec ${rrsync} ${options} "$1/root"`,
      '/',
    );
    const put = async (content: string): Promise<void> => {
      writeFileSync(join(source, 'p.apk'), content);
      writeFileSync(join(source, 'index'), content);
      const waves = ['p.apk', 'index'].map((path) => [{ path, size: content.length, mtimeSeconds: 1 }]);
      await transport.put(source, waves, { signal: never });
    };
    await put('first');
    rmSync(join(base, 'log'));
    await put('second');
    assert.equal(readFileSync(join(base, 'log'), 'utf8').trim().split('\n').length, runs, options);
    assert.equal(readFileSync(join(root, 'index'), 'utf8'), 'second');
  }
});

test('an rrsync that keeps what is there is told', { skip: without('-no-overwrite') }, async (t) => {
  const { root, source, transport } = await start(t, `exec ${rrsync} -wo -no-overwrite "$1/root"`, '/');
  for (const name of ['p.apk', 'index']) writeFileSync(join(source, name), 'new');
  writeFileSync(join(root, 'p.apk'), 'old');
  const waves = ['p.apk', 'index'].map((path) => [{ path, size: 3, mtimeSeconds: 1 }]);
  await transport.put(source, waves, { signal: never });
  assert.deepEqual(
    ['p.apk', 'index'].map((name) => readFileSync(join(root, name), 'utf8')),
    ['old', 'new'],
  );
  await assert.rejects(transport.put(source, waves, { signal: never }), {
    reason: 'option_refused',
    kind: 'permanent',
  });
});

test('a root with spaces, quotes and signs of the shell is taken as it is', { skip }, async (t) => {
  const name = `it's "a" $HOME \\ [b] *?;&|<>(){}\`#!~ ü`;
  for (const script of [undefined, ...(rrsync === undefined ? [] : [`exec ${rrsync} -wo "$1"`])]) {
    const { base, source, transport } = await start(t, script, script === undefined ? undefined : `/${name}`, name);
    writeFileSync(join(source, 'a'), 'one');
    await transport.put(source, [[{ path: 'a', size: 3, mtimeSeconds: 1 }]], { signal: never });
    assert.equal(readFileSync(join(base, name, 'a'), 'utf8'), 'one');
  }
});

test('what the other end says is escaped before anybody sees it', { skip }, async (t) => {
  const { source, transport } = await start(t, `printf '\\033[31mbad\\r\\n' >&2; exit 12`);
  writeFileSync(join(source, 'a'), 'one');
  await assert.rejects(
    transport.put(source, [[{ path: 'a', size: 3, mtimeSeconds: 1 }]], { signal: never }),
    (error) =>
      error instanceof TransportError && !error.message.includes('\u001b') && error.message.includes('[31mbad'),
  );
});

test('an other end that prints, is too old, or is silent has its reason', { skip }, async (t) => {
  for (const [script, reason, words] of [
    ['echo Welcome to the mirror', 'remote_shell', /is your shell clean/],
    [`printf '\\035\\000\\000\\000'; cat > /dev/null`, 'option_refused', /version 29 of the protocol/],
    ['sleep 60', 'timeout', /silent/],
    ['exit 0', 'protocol', /ended early/],
    ['kill -9 $$', 'closed', /./],
  ] as const) {
    const stallMs = reason === 'timeout' ? 500 : 20_000;
    const { source, transport } = await start(t, script, undefined, 'root', stallMs);
    writeFileSync(join(source, 'a'), 'one');
    await assert.rejects(
      transport.put(source, [[{ path: 'a', size: 3, mtimeSeconds: 1 }]], { signal: never }),
      (error) => {
        assert.ok(error instanceof TransportError && words.test(error.message), String(error));
        assert.equal(error.reason, reason, error.message);
        return true;
      },
    );
  }
});

test('neither a slow pace nor a shut gate is taken for a hung mirror', { skip }, async (t) => {
  const { root, source, transport } = await start(t, undefined, undefined, 'root', 6000);
  const content = Buffer.alloc(64 * 1024, 7);
  for (const name of ['a', 'b', 'i']) writeFileSync(join(source, name), content);
  const file = (path: string): PushFile => ({ path, size: content.length, mtimeSeconds: 1 });
  let steps = 12;
  const pace = async (_bytes: number, { onWait }: { onWait: () => void }): Promise<void> => {
    for (; steps > 0; steps--) await sleep(700).then(onWait);
  };
  const gate = sleep(16_000);
  await transport.put(source, [[file('a'), file('b')], [file('i')]], { signal: never, pace, gate });
  assert.deepEqual(readFileSync(join(root, 'i')), content);
});
