import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmod, chown, link, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { Inbox, type Opened, resolveLink } from '../../src/ingest/walk.ts';
import { temporaryDirectory } from '../support/apk.ts';

interface World {
  readonly root: string;
  readonly inbox: string;
}

async function world(t: TestContext): Promise<World> {
  const root = temporaryDirectory(t);
  const inbox = join(root, 'inbox');
  await mkdir(join(inbox, 'main/x86_64'), { recursive: true });
  await mkdir(join(inbox, 'main/armhf'));
  await writeFile(join(root, 'secret'), 'SECRET');
  await writeFile(join(inbox, 'main/x86_64/real.apk'), 'real');
  return { root, inbox };
}

/** What `openFile` gives and what `see` says must always be the same thing; returns the content or the code. */
async function lookAt(inbox: string, directory: string, name: string): Promise<string> {
  await using open = await Inbox.open(inbox);
  assert.ok(open);
  await using found = await open.directory(directory.split('/'));
  if (!found) return 'no directory';
  const opened: Opened = await found.openFile(name);
  const seen = await found.see(name);
  assert.equal(seen.kind, opened.kind);
  switch (opened.kind) {
    case 'absent':
      return 'absent';
    case 'refused':
      assert.deepEqual({ ...seen, stat: undefined }, { ...opened, stat: undefined });
      return opened.code;
    case 'file': {
      await using handle = opened.handle;
      const { handle: _, ...file } = opened;
      assert.deepEqual(seen, file);
      const content = await handle.readFile('utf8');
      assert.equal(opened.size, content.length);
      return `file ${content}`;
    }
  }
  return 'unreachable';
}

test('a regular file is opened, an absent one is absent', async (t) => {
  const { inbox } = await world(t);
  assert.equal(await lookAt(inbox, 'main/x86_64', 'real.apk'), 'file real');
  assert.equal(await lookAt(inbox, 'main/x86_64', 'other.apk'), 'absent');
  assert.equal(await lookAt(inbox, 'main/riscv64', 'real.apk'), 'no directory');
});

test('a symlink to a file of the inbox is that file', async (t) => {
  const { inbox } = await world(t);
  const at = (name: string): string => join(inbox, 'main/armhf', name);
  await symlink('../x86_64/real.apk', at('direct'));
  await symlink('/rsyncd-munged/../x86_64/real.apk', at('munged'));
  await symlink('direct', at('chain'));
  await symlink('./././direct', at('dots'));
  await symlink('../../main/x86_64/real.apk', at('detour'));
  await symlink('../x86_64/gone.apk', at('dangling'));
  for (const name of ['direct', 'munged', 'chain', 'dots', 'detour']) {
    assert.equal(await lookAt(inbox, 'main/armhf', name), 'file real', name);
  }
  assert.equal(await lookAt(inbox, 'main/armhf', 'dangling'), 'absent');
});

test('a symlink that leaves the inbox, or never ends, is refused', async (t) => {
  const { root, inbox } = await world(t);
  const at = (name: string): string => join(inbox, 'main/armhf', name);
  await symlink(join(root, 'secret'), at('absolute'));
  await symlink('../../../secret', at('above'));
  await symlink('/rsyncd-munged/../../../secret', at('munged-above'));
  await symlink(`/rsyncd-munged/${join(root, 'secret')}`, at('munged-absolute'));
  await symlink('../../../inbox/main/x86_64/real.apk', at('out-and-in'));
  await symlink('loop', at('loop'));
  await symlink('pong', at('ping'));
  await symlink('ping', at('pong'));
  let last = 'real.apk';
  for (let n = 0; n < 9; n++) {
    await symlink(last, join(inbox, 'main/x86_64', `link-${n}`));
    last = `link-${n}`;
  }
  const refused = ['absolute', 'above', 'munged-above', 'munged-absolute', 'out-and-in', 'loop', 'ping'];
  for (const name of refused) assert.equal(await lookAt(inbox, 'main/armhf', name), 'NOT_REGULAR', name);
  assert.equal(await lookAt(inbox, 'main/x86_64', 'link-7'), 'file real', 'eight links are followed');
  assert.equal(await lookAt(inbox, 'main/x86_64', 'link-8'), 'NOT_REGULAR', 'nine are not');
});

test('a symlink through a symlinked directory leads nowhere', async (t) => {
  const { root, inbox } = await world(t);
  await mkdir(join(root, 'elsewhere'));
  await writeFile(join(root, 'elsewhere/real.apk'), 'SECRET');
  await symlink(join(root, 'elsewhere'), join(inbox, 'main/door'));
  await symlink('../door/real.apk', join(inbox, 'main/armhf/through'));
  assert.equal(await lookAt(inbox, 'main/armhf', 'through'), 'absent');
  assert.equal(await lookAt(inbox, 'main/door', 'real.apk'), 'no directory');
});

test('the text of a symlink is shown escaped', async (t) => {
  const { inbox } = await world(t);
  await symlink('/etc/\u001b[31m\npasswd', join(inbox, 'main/armhf/evil'));
  await using open = await Inbox.open(inbox);
  await using directory = await open?.directory(['main', 'armhf']);
  const opened = await directory?.openFile('evil');
  assert.equal(opened?.kind, 'refused');
  // oxlint-disable-next-line no-control-regex -- a terminal would obey them
  assert.doesNotMatch(opened.detail, /[\u0000-\u001f]/);
});

test('a FIFO, a socket, a device and a directory are refused, and nothing hangs', async (t) => {
  const { inbox } = await world(t);
  const at = (name: string): string => join(inbox, 'main/armhf', name);
  execFileSync(
    'mkfifo',
    Array.from({ length: 16 }, (_, n) => at(`fifo-${n}`)),
  );
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
  t.after(() => server.close());
  await mkdir(at('directory'));
  const names = [...Array.from({ length: 16 }, (_, n) => `fifo-${n}`), 'socket', 'directory'];
  if (process.getuid?.() === 0) {
    execFileSync('mknod', [at('device'), 'c', '1', '5']);
    names.push('device');
  } else t.diagnostic('not root: no device was made');
  const results = await Promise.all(names.map((name) => lookAt(inbox, 'main/armhf', name)));
  for (const [index, name] of names.entries()) assert.match(String(results[index]), /^NOT_REGULAR$/, name);
});

test('names that are no names are refused, whoever asks', async (t) => {
  const { inbox } = await world(t);
  for (const name of ['', '.', '..', '../x86_64/real.apk', 'a\0b', 'x'.repeat(300)]) {
    assert.equal(await lookAt(inbox, 'main/armhf', name), 'NAME', JSON.stringify(name));
  }
});

test('a file that the daemon may not read is refused', async (t) => {
  if (process.getuid?.() === 0) {
    t.skip('root may read everything');
    return;
  }
  const { inbox } = await world(t);
  await chmod(join(inbox, 'main/x86_64/real.apk'), 0);
  assert.equal(await lookAt(inbox, 'main/x86_64', 'real.apk'), 'NOT_REGULAR');
});

test('an inbox that is absent, a file or a symlink is none', async (t) => {
  const { root, inbox } = await world(t);
  await symlink('inbox', join(root, 'link'));
  for (const path of ['absent', 'secret', 'link']) assert.equal(await Inbox.open(join(root, path)), null, path);
  await rm(inbox, { recursive: true });
  assert.equal(await Inbox.open(inbox), null);
});

test('an open directory stays the one that was opened when its path becomes something else', async (t) => {
  const { root, inbox } = await world(t);
  await mkdir(join(root, 'trap'));
  await writeFile(join(root, 'trap/real.apk'), 'SECRET');
  await using open = await Inbox.open(inbox);
  await using directory = await open?.directory(['main', 'x86_64']);
  await rename(join(inbox, 'main/x86_64'), join(inbox, 'main/moved'));
  await symlink(join(root, 'trap'), join(inbox, 'main/x86_64'));
  const opened = await directory?.openFile('real.apk');
  assert.equal(opened?.kind, 'file');
  await using handle = opened.handle;
  assert.equal(await handle.readFile('utf8'), 'real');
});

test('while a directory turns into a symlink and back, what is read is never outside', {
  timeout: 300_000,
}, async (t) => {
  const { root, inbox } = await world(t);
  await mkdir(join(root, 'trap'));
  await writeFile(join(root, 'trap/real.apk'), 'SECRET');
  await symlink(join(root, 'trap'), join(inbox, 'main/bait'));
  const racer: ChildProcess = spawn(process.execPath, ['-e', flipper, join(inbox, 'main')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const seen = new Set<string>();
  try {
    await new Promise((resolve) => racer.stdout?.once('data', resolve));
    const raced = (): boolean => seen.has('real') && seen.has('absent');
    for (let n = 0; n < 3000 || (n < 200_000 && !raced()); n++) {
      await using open = await Inbox.open(inbox);
      await using directory = await open?.directory(['main', 'x86_64']);
      const opened = (await directory?.openFile('real.apk')) ?? { kind: 'absent' };
      if (opened.kind !== 'file') {
        seen.add(opened.kind);
        continue;
      }
      await using handle = opened.handle;
      seen.add(await handle.readFile('utf8'));
    }
    assert.ok(raced(), `the racer raced: ${[...seen].join(', ')}`);
    assert.ok(!seen.has('SECRET'));
  } finally {
    // Gone before the directory that it plays with is removed.
    racer.kill('SIGKILL');
    await new Promise((resolve) => racer.once('close', resolve));
  }
});

/** Swaps the directory x86_64 and the symlink bait for ever. */
const flipper = `
  const { renameSync } = require('node:fs'); const base = process.argv[1]; process.stdout.write('ready');
  for (;;) {
    renameSync(base + '/x86_64', base + '/aside'); renameSync(base + '/bait', base + '/x86_64');
    renameSync(base + '/x86_64', base + '/bait'); renameSync(base + '/aside', base + '/x86_64');
  }`;

const component = fc.constantFrom('..', '.', '', 'a', 'b', '...', '..a');

test('resolveLink never leaves the inbox and never gives a component that has a meaning', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 4 }),
      fc.array(component, { maxLength: 8 }),
      fc.constantFrom('', '/', '/rsyncd-munged/', '/rsyncd-munged//'),
      (from, parts, prefix) => {
        const resolved = resolveLink(from, prefix + parts.join('/'));
        if (resolved === null) return;
        assert.ok(resolved.every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('/')));
        // The same as the path arithmetic of a real file system below an inbox that is deep enough to see an escape.
        const depth: string[] = [...from];
        for (const part of parts) {
          if (part === '..') assert.notEqual(depth.pop(), undefined, 'it never was above the inbox');
          else if (part !== '' && part !== '.') depth.push(part);
        }
        assert.deepEqual(resolved, depth);
      },
    ),
    { numRuns: 2000 },
  );
});

test('resolveLink takes every link that stays inside', () => {
  for (const [from, target, expected] of [
    [['main', 'armhf'], '../x86_64/a.apk', ['main', 'x86_64', 'a.apk']],
    [['main', 'armhf'], '/rsyncd-munged/../x86_64/a.apk', ['main', 'x86_64', 'a.apk']],
    [['main', 'armhf'], '../../a.apk', ['a.apk']],
    [['main', 'armhf'], '../../../a.apk', null],
    [['main', 'armhf'], '/a.apk', null],
    [['main', 'armhf'], '', null],
    [[], '..', null],
  ] as const) {
    assert.deepEqual(resolveLink(from, target), expected, target);
  }
});

test("a hard link to another account's file is refused, the uploader's own is a file like any other", async (t) => {
  if (process.getuid?.() !== 0) return t.skip('not root: no file can be given to another account');
  const { root, inbox } = await world(t);
  await link(join(inbox, 'main/x86_64/real.apk'), join(inbox, 'main/armhf/own'));
  assert.equal(await lookAt(inbox, 'main/armhf', 'own'), 'file real');
  await chown(join(inbox, 'main/armhf'), 12345, 12345);
  await link(join(root, 'secret'), join(inbox, 'main/armhf/foreign'));
  assert.equal(await lookAt(inbox, 'main/armhf', 'foreign'), 'NOT_REGULAR');
  await symlink('foreign', join(inbox, 'main/armhf/around'));
  assert.equal(await lookAt(inbox, 'main/armhf', 'around'), 'NOT_REGULAR');
  await chown(join(root, 'secret'), 12345, 12345);
  assert.equal(await lookAt(inbox, 'main/armhf', 'foreign'), 'file SECRET');
});

test('what is mounted inside of an inbox is not there', async (t) => {
  const { inbox } = await world(t);
  const place = join(inbox, 'main/armhf');
  const mounted = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', place]);
  if (mounted.status !== 0) return t.skip(`no tmpfs can be mounted here: ${String(mounted.stderr).trim()}`);
  try {
    await mkdir(join(place, 'deep'));
    await writeFile(join(place, 'deep/real.apk'), 'SECRET');
    assert.equal(await lookAt(inbox, 'main/armhf/deep', 'real.apk'), 'no directory');
    await symlink('../armhf/deep/real.apk', join(inbox, 'main/x86_64/through'));
    assert.equal(await lookAt(inbox, 'main/x86_64', 'through'), 'absent');
  } finally {
    spawnSync('umount', [place]);
  }
});
