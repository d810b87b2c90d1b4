/** One conformance suite for every transport against every kind of far side that it is meant for. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, isTransient, TransportError } from '../../src/errors.ts';
import type { PushFile, Transport } from '../../src/replicate/transport.ts';
import { createKeyPair } from '../../src/system/ssh-server.ts';
import { type Far, kinds, type Place } from './far.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const never = new AbortController().signal;
const big = 50 * 1024 * 1024;

/** A source tree of one test, removed after it. */
function makeSource(t: TestContext): {
  root: string;
  add(path: string, content: string | Buffer, mtimeSeconds?: number): PushFile;
} {
  const root = mkdtempSync(join(tmpdir(), 'lockstepd-source-'));
  removeAtEnd(t, root);
  return {
    root,
    add: (path, content, mtimeSeconds = 1_700_000_000) => {
      const full = join(root, path);
      mkdirSync(dirname(full), { recursive: true });
      writeFileSync(full, content, { mode: 0o600 });
      utimesSync(full, mtimeSeconds, mtimeSeconds);
      return { path, size: Buffer.byteLength(content), mtimeSeconds };
    },
  };
}

function open(t: TestContext, place: Place, limits?: Parameters<Place['transport']>[0]): Transport {
  const transport = place.transport(limits);
  t.after(() => transport.close());
  return transport;
}

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** Every name below a directory, hidden ones included. */
const everything = (root: string): string[] =>
  readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

/** Null for a file that is not there, where that may be. */
function contentOf(path: string, mayBeGone: boolean): Buffer | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if (mayBeGone && errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function failureOf(work: Promise<unknown>): Promise<TransportError> {
  const error: unknown = await work.then(
    () => assert.fail('it should have failed'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TransportError, `a TransportError and not ${String(error)}`);
  return error;
}

/** Waits until something that happens at the far side has happened. */
async function eventually(what: string, check: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!check()) {
    if (performance.now() > deadline) assert.fail(`${what}: not after 60 s`);
    await sleep(10);
  }
}

for (const kind of kinds) {
  describe(kind.name, { skip: kind.missing }, () => {
    let far: Far;
    let count = 0;
    const place = (): Place => far.place(`mirror-${count++}`);
    before(async () => {
      far = await kind.open();
    });
    after(() => far[Symbol.asyncDispose]());

    test('put creates directories, contents, modes and times', async (t) => {
      const source = makeSource(t);
      const { root, ...at } = place();
      const files = [
        source.add('main/x86_64/a-1.0-r0.apk', 'one', 1_600_000_001),
        source.add('extra/systemd/edge/armv7/b.apk', randomBytes(300_000), 1_600_000_002),
        source.add('lockstep.json', '{}', 1_600_000_003),
        source.add('main/x86_64/empty', '', 1_600_000_004),
      ];
      let bytes = 0;
      await open(t, { root, ...at }).put(source.root, [files], { signal: never, onBytes: (n) => (bytes += n) });
      for (const file of files) {
        const target = join(root, file.path);
        assert.equal(digest(target), digest(join(source.root, file.path)), file.path);
        assert.equal(statSync(target).mode & 0o7777, 0o644, file.path);
        if (!far.lacks?.times) assert.equal(Math.floor(statSync(target).mtimeMs / 1000), file.mtimeSeconds, file.path);
      }
      assert.equal(statSync(join(root, 'extra/systemd/edge')).mode & 0o7777, 0o755);
      assert.equal(everything(root).length, files.length, 'nothing else is left there');
      assert.ok(bytes >= 300_000, `progress was told: ${bytes}`);
    });

    test('put again changes nothing', async (t) => {
      const source = makeSource(t);
      const at = place();
      const files = [source.add('d/a', 'aaa'), source.add('d/b', 'bbb')];
      const transport = open(t, at);
      await transport.put(source.root, [files], { signal: never });
      await transport.put(source.root, [files], { signal: never });
      assert.deepEqual(everything(at.root), [join(at.root, 'd/a'), join(at.root, 'd/b')]);
      assert.equal(readFileSync(join(at.root, 'd/a'), 'utf8'), 'aaa');
    });

    test('a file of the same size and second but other content is replaced', async (t) => {
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at);
      await transport.put(source.root, [[source.add('d/APKINDEX.tar.gz', 'old index')]], { signal: never });
      await transport.put(source.root, [[source.add('d/APKINDEX.tar.gz', 'new index')]], { signal: never });
      assert.equal(readFileSync(join(at.root, 'd/APKINDEX.tar.gz'), 'utf8'), 'new index');
    });

    test('a reader sees the old file or the new one, at every moment', async (t) => {
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at);
      const path = join(at.root, 'd/index');
      await transport.put(source.root, [[source.add('d/index', Buffer.alloc(400_000, 'a'))]], { signal: never });
      const reading = new AbortController();
      let seen = 0;
      const reader = (async () => {
        while (!reading.signal.aborted) {
          const content = contentOf(path, far.lacks?.gaplessReplace === true);
          if (content === null) continue;
          assert.ok(content.length === 400_000 && content.every((byte) => byte === content[0]), 'a whole file');
          seen++;
          await turn();
        }
      })();
      // Five times, and until the reader has had its turns.
      const isEnough = (puts: number): boolean => puts >= 5 && seen > 5;
      for (let puts = 0; !isEnough(puts); puts++) {
        const letter = 'bcdef'.charAt(puts % 5);
        await transport.put(source.root, [[source.add('d/index', Buffer.alloc(400_000, letter))]], { signal: never });
      }
      await transport.put(source.root, [[source.add('d/index', Buffer.alloc(400_000, 'z'))]], { signal: never });
      reading.abort();
      await reader;
      assert.equal(readFileSync(path)[0], 'z'.charCodeAt(0));
    });

    test('names with plus, tilde, space, brackets, quotes and letters beyond ASCII', async (t) => {
      const source = makeSource(t);
      const at = place();
      const names = [
        'libstdc++-13.2_git20231014-r0.apk',
        'a~b',
        'with space',
        'ünï-日本',
        "o'neil",
        '[x]{y,z}*?',
        '$HOME`id`',
        '-n',
        'a\\b',
        '#c',
        ';d',
        'e\\#012f',
        '%n',
        'new\nline',
      ];
      const transport = open(t, at);
      if (far.lacks?.lineBreaks) {
        const last = source.add(`d/${names.pop() ?? ''}`, 'x');
        const error = await failureOf(transport.put(source.root, [[last]], { signal: never }));
        assert.deepEqual([error.reason, error.kind], ['protocol', 'permanent']);
        await assert.rejects(transport.remove([last.path], { signal: never }), TransportError);
      }
      const files = names.map((name) => source.add(`d/${name}`, name));
      await transport.put(source.root, [files], { signal: never });
      assert.deepEqual(readdirSync(join(at.root, 'd')).sort(), [...names].sort());
      if (far.lists) {
        const listed = await transport.list('d', { signal: never });
        assert.deepEqual([...listed.keys()].sort(), [...names].sort());
        assert.deepEqual(listed.get('with space'), { size: 10, mtimeSeconds: far.lacks?.times ? null : 1_700_000_000 });
      }
      await transport.remove(
        files.map((file) => file.path),
        { signal: never },
      );
      assert.deepEqual(readdirSync(join(at.root, 'd')), []);
    });

    test('remove takes what is named, and what is not there is no error', async (t) => {
      const at = place();
      mkdirSync(join(at.root, 'd/e'), { recursive: true });
      for (const name of ['d/a', 'd/b', 'd/e/c']) writeFileSync(join(at.root, name), name);
      const transport = open(t, at);
      await transport.remove(['d/a', 'd/e/c', 'd/nothing', 'no/such/directory'], { signal: never });
      assert.deepEqual(everything(at.root), [join(at.root, 'd/b')]);
      assert.ok(existsSync(join(at.root, 'd/e')), 'directories stay');
      assert.ok(!existsSync(join(at.root, 'no')), 'none is made');
      await transport.remove([], { signal: never });
    });

    test('list shows regular files, hidden ones too, and a missing directory as empty', async (t) => {
      const at = place();
      const transport = open(t, at);
      if (!far.lists) {
        const error = await failureOf(transport.list('d', { signal: never }));
        assert.deepEqual([error.reason, error.kind], ['option_refused', 'permanent']);
        return;
      }
      assert.equal((await transport.list('nothing/here', { signal: never })).size, 0);
      mkdirSync(join(at.root, 'd/sub'), { recursive: true });
      for (let i = 0; i < 250; i++) {
        writeFileSync(join(at.root, `d/p${i}`), 'x'.repeat(i));
        utimesSync(join(at.root, `d/p${i}`), 1_600_000_000 + i, 1_600_000_000 + i);
      }
      writeFileSync(join(at.root, 'd/.p.lockstepd-abcdef'), 'part');
      symlinkSync('p1', join(at.root, 'd/link'));
      const listed = await transport.list('d', { signal: never });
      assert.equal(listed.size, 251);
      assert.deepEqual(listed.get('p249'), { size: 249, mtimeSeconds: far.lacks?.times ? null : 1_600_000_249 });
      assert.equal(listed.get('.p.lockstepd-abcdef')?.size, 4);
      assert.deepEqual([...(await transport.list('', { signal: never })).keys()], []);
    });

    test('hundreds of files in one call', async (t) => {
      // rclone takes a tenth of a second for each over WebDAV.
      const many = far.lacks?.pace ? 60 : 300;
      const source = makeSource(t);
      const at = place();
      const files = Array.from({ length: many }, (_, i) =>
        source.add(`r${i % 3}/x86_64/p${i}.apk`, randomBytes(3000 + i)),
      );
      await open(t, at).put(source.root, [files], { signal: never });
      for (const file of files) assert.equal(digest(join(at.root, file.path)), digest(join(source.root, file.path)));
      assert.equal(everything(at.root).length, many);
    });

    test('a file of 50 MB arrives whole and shows its name only then', async (t) => {
      const source = makeSource(t);
      const at = place();
      const file = source.add('d/big', randomBytes(big));
      const sizes = new Set<number | undefined>();
      const look = (): unknown => sizes.add(statSync(join(at.root, 'd/big'), { throwIfNoEntry: false })?.size);
      await open(t, at).put(source.root, [[file]], { signal: never, onBytes: look });
      look();
      assert.deepEqual(sizes, new Set([undefined, big]));
      assert.equal(digest(join(at.root, 'd/big')), digest(join(source.root, 'd/big')));
    });

    test('an abort in the middle rejects with its reason, leaves the old file, and the next put works', async (t) => {
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at);
      await transport.put(source.root, [[source.add('d/big', 'old')]], { signal: never });
      const file = source.add('d/big', randomBytes(big));
      const stop = new AbortController();
      const reason = new Error('enough');
      let sent = 0;
      const onBytes = (bytes: number): void => {
        sent += bytes;
        if (sent > 1024 * 1024) stop.abort(reason);
      };
      await assert.rejects(
        transport.put(source.root, [[file]], { signal: stop.signal, onBytes }),
        (error) => error === reason,
      );
      assert.equal(readFileSync(join(at.root, 'd/big'), 'utf8'), 'old');
      await eventually('the temporary file is removed', () => everything(at.root).length === 1);
      await assert.rejects(transport.put(source.root, [[file]], { signal: stop.signal }), (error) => error === reason);
      // rrsync may hold its lock a little longer than our end of the channel lives.
      for (let tries = 0; ; tries++) {
        try {
          await transport.put(source.root, [[source.add('d/small', 'new')]], { signal: never });
          break;
        } catch (error) {
          assert.ok(error instanceof TransportError && error.reason === 'busy' && tries < 600, String(error));
          await sleep(50);
        }
      }
      assert.equal(readFileSync(join(at.root, 'd/big'), 'utf8'), 'old');
    });

    test('a file that is not there as planned fails the put and leaves nothing half', async (t) => {
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at);
      const gone = { path: 'd/gone', size: 5, mtimeSeconds: 1 };
      const error = await failureOf(
        transport.put(source.root, [[source.add('d/there', 'there'), gone]], { signal: never }),
      );
      assert.ok(isTransient(error), `${error.reason} ${error.kind}`);
      assert.ok(['vanished', 'partial'].includes(error.reason), error.reason);
      assert.ok(everything(at.root).every((path) => path === join(at.root, 'd/there')));
    });

    test('a check says that the mirror can be reached, and changes nothing', async (t) => {
      const at = place();
      const transport = open(t, at);
      await transport.check?.({ signal: never });
      await transport.check?.({ signal: never });
      assert.deepEqual(readdirSync(at.root), []);
    });

    test('bytes of a put go out only when the pace lets them', async (t) => {
      if (far.lacks?.pace) return t.skip('it keeps to a rate of its own');
      const source = makeSource(t);
      const at = place();
      const content = randomBytes(1024 * 1024);
      const file = source.add('d/a.apk', content);
      const gate = Promise.withResolvers<void>();
      let asked = 0;
      const pace = async (bytes: number): Promise<void> => {
        asked += bytes;
        await gate.promise;
      };
      const putting = open(t, at).put(source.root, [[file]], { signal: never, pace });
      await eventually('the put to ask', () => asked > 0);
      await sleep(100);
      assert.ok(asked < content.length, `it waits, and does not read on: ${asked} bytes asked for`);
      assert.ok(!existsSync(join(at.root, 'd/a.apk')));
      gate.resolve();
      await putting;
      assert.ok(asked >= content.length, `all bytes were asked for: ${asked}`);
      assert.equal(digest(join(at.root, 'd/a.apk')), digest(join(source.root, 'd/a.apk')));
    });

    test('a wave appears only when the ones before it are in place', async (t) => {
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at);
      // The small last file is at the mirror long before the big one.
      const waves = [
        [source.add('d/b', randomBytes(8 * 1024 * 1024)), source.add('d/c', 'c')],
        [],
        [source.add('d/a', 'index')],
        [source.add('d/0', 'trace')],
      ];
      mkdirSync(join(at.root, 'd'));
      const seen: boolean[][] = [];
      let marks = 0;
      const watcher = watch(join(at.root, 'd'), (_event, name) => {
        if (name === 'mark') marks++;
        const there = ['b', 'c', 'a'].map((one) => existsSync(join(at.root, 'd', one)));
        if (name === 'a') seen.push(there.slice(0, 2));
        if (name === '0') seen.push(there);
      });
      t.after(() => watcher.close());
      for (let round = 0; round < 2; round++) {
        await transport.put(source.root, waves, { signal: never });
        assert.deepEqual(readdirSync(join(at.root, 'd')).sort(), ['0', 'a', 'b', 'c']);
        // What is told of this comes after all that is told of the round.
        const marksBefore = marks;
        writeFileSync(join(at.root, 'd/mark'), '');
        await eventually('the watcher to have told of all', () => marks > marksBefore);
        rmSync(join(at.root, 'd/mark'));
      }
      assert.ok(seen.length >= 2);
      assert.ok(
        seen.flat().every((there) => there),
        JSON.stringify(seen),
      );
    });

    test('a wave does not appear when the one before it fails', async (t) => {
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at);
      await transport.put(source.root, [[source.add('d/b', 'old')], [source.add('d/a', 'old index')]], {
        signal: never,
      });
      const gone = { path: 'd/gone', size: 5, mtimeSeconds: 1 };
      const waves = [[source.add('d/there', 'there'), gone], [source.add('d/a', 'new index')]];
      const error = await failureOf(transport.put(source.root, waves, { signal: never }));
      assert.ok(['vanished', 'partial'].includes(error.reason), error.reason);
      assert.equal(readFileSync(join(at.root, 'd/a'), 'utf8'), 'old index');
      const whole = ['a', 'b', 'there'].map((name) => join(at.root, 'd', name));
      assert.deepEqual(
        everything(at.root).filter((path) => !whole.includes(path)),
        [],
      );
    });

    test('a missing root is never made', async (t) => {
      const source = makeSource(t);
      const at = place();
      rmSync(at.root, { recursive: true });
      if (far.lacks?.directories) {
        t.skip('a directory cannot be missing there');
        return;
      }
      const error = await failureOf(open(t, at).put(source.root, [[source.add('d/a', 'a')]], { signal: never }));
      assert.equal(error.reason, 'not_found');
      assert.ok(!existsSync(at.root));
    });

    test('a directory of the mirror that is a symbolic link', async (t) => {
      const source = makeSource(t);
      const at = place();
      const outside = mkdtempSync(join(tmpdir(), 'lockstepd-outside-'));
      removeAtEnd(t, outside);
      symlinkSync(outside, join(at.root, 'main'));
      const put = open(t, at).put(source.root, [[source.add('main/a', 'a')]], { signal: never });
      const error: unknown = await put.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (kind.name === 'sftp to sshd' || far.lacks?.confinement) {
        // SFTP, rclone and rsync before 3.5 cannot refuse links: the account itself is the confinement there.
        if (kind.name.startsWith('rsync')) t.diagnostic('known: a link to a directory in the mirror is followed');
        assert.deepEqual(readdirSync(outside), ['a']);
        return;
      }
      assert.deepEqual(readdirSync(outside), [], 'nothing is written outside');
      // rsync replaces the link by a directory, the others refuse.
      if (error === undefined) assert.ok(lstatSync(join(at.root, 'main')).isDirectory());
      else assert.ok(error instanceof TransportError);
    });

    test('a file that is a symbolic link is replaced, not written through', async (t) => {
      const source = makeSource(t);
      const at = place();
      const outside = mkdtempSync(join(tmpdir(), 'lockstepd-outside-'));
      removeAtEnd(t, outside);
      writeFileSync(join(outside, 'victim'), 'untouched');
      symlinkSync(join(outside, 'victim'), join(at.root, 'a'));
      await open(t, at).put(source.root, [[source.add('a', 'mine')]], { signal: never });
      assert.equal(readFileSync(join(outside, 'victim'), 'utf8'), 'untouched');
      assert.ok(lstatSync(join(at.root, 'a')).isFile());
    });

    test('a full disk is disk_full, and what was there stays', async (t) => {
      const source = makeSource(t);
      const at = place();
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=755', 'tmpfs', at.root], { stdio: 'pipe' });
      } catch {
        t.skip('a small file system cannot be mounted here');
        return;
      }
      t.after(() => execFileSync('umount', [at.root]));
      const transport = open(t, at);
      await transport.put(source.root, [[source.add('index', 'old')]], { signal: never });
      const files = [source.add('big', randomBytes(4 * 1024 * 1024)), source.add('index', 'x'.repeat(1_200_000))];
      const error = await failureOf(transport.put(source.root, [files], { signal: never }));
      if (!far.lacks?.reasons) assert.equal(error.reason, 'disk_full', error.message);
      assert.equal(error.kind, 'retryable');
      assert.equal(readFileSync(join(at.root, 'index'), 'utf8'), 'old');
      assert.ok(!existsSync(join(at.root, 'big')));
      await transport.put(source.root, [[source.add('index', 'new')]], { signal: never });
      assert.equal(readFileSync(join(at.root, 'index'), 'utf8'), 'new');
      await transport.close();
    });

    test('close, then use again', async (t) => {
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at);
      await transport.close();
      await transport.put(source.root, [[source.add('a', '1')]], { signal: never });
      await transport.close();
      await transport.put(source.root, [[source.add('b', '2')]], { signal: never });
      assert.equal(everything(at.root).length, 2);
    });

    test('the far side dies in the middle of a put: retryable, and the next put works', async (t) => {
      const { sshd } = far;
      if (!sshd) {
        t.skip('there is no process to kill');
        return;
      }
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at);
      await transport.put(source.root, [[source.add('d/a', 'old')]], { signal: never });
      let sent = 0;
      const onBytes = (bytes: number): void => {
        sent += bytes;
        if (sent > 1024 * 1024) sshd.killSessions();
      };
      const file = source.add('d/a', randomBytes(big));
      const error = await failureOf(transport.put(source.root, [[file]], { signal: never, onBytes }));
      assert.deepEqual([error.kind, error.reason], ['retryable', 'closed'], error.message);
      assert.equal(readFileSync(join(at.root, 'd/a'), 'utf8'), 'old');
      await transport.put(source.root, [[source.add('d/a', 'new')]], { signal: never });
      assert.equal(readFileSync(join(at.root, 'd/a'), 'utf8'), 'new');
    });

    test('the far side freezes in the middle of a put: timeout', async (t) => {
      const { sshd } = far;
      if (!sshd) {
        t.skip('there is no process to stop');
        return;
      }
      const source = makeSource(t);
      const at = place();
      const transport = open(t, at, { stallMs: 1000 });
      let sent = 0;
      const onBytes = (bytes: number): void => {
        sent += bytes;
        if (sent > 1024 * 1024) sshd.freezeSessions();
      };
      const error = await failureOf(
        transport.put(source.root, [[source.add('a', randomBytes(big))]], { signal: never, onBytes }),
      );
      assert.deepEqual([error.kind, error.reason], ['retryable', 'timeout'], error.message);
      assert.ok(!existsSync(join(at.root, 'a')));
      sshd.killSessions();
      // A session may take longer to begin than this transport waits.
      for (let tries = 0; ; tries++) {
        try {
          await transport.put(source.root, [[source.add('a', 'new')]], { signal: never });
          break;
        } catch (again) {
          assert.ok(again instanceof TransportError && again.reason === 'timeout' && tries < 60, String(again));
        }
      }
      assert.equal(readFileSync(join(at.root, 'a'), 'utf8'), 'new');
    });

    test('wrong host key, wrong key, closed port, silence: each its reason', async (t) => {
      const { ssh } = far;
      if (!ssh) {
        t.skip('this transport has no connection');
        return;
      }
      const source = makeSource(t);
      const files = [source.add('a', 'a')];
      const attempt = async (target: Partial<typeof ssh.target>, limits = {}): Promise<TransportError> => {
        const transport = ssh.make({ ...ssh.target, ...target }, limits);
        t.after(() => transport.close());
        const error = await failureOf(transport.put(source.root, [files], { signal: never }));
        const checked = await failureOf(transport.check?.({ signal: never }) ?? assert.fail('no check'));
        assert.deepEqual([checked.kind, checked.reason], [error.kind, error.reason], 'a check fails of the same');
        return error;
      };
      const other = `SHA256:${randomBytes(32).toString('base64').replace('=', '')}`;
      const key = await attempt({ hostKeys: [other] });
      assert.deepEqual([key.kind, key.reason], ['security', 'host_key']);
      assert.ok(key.message.includes(ssh.target.hostKeys[0] ?? '?'), 'it says what was shown');
      const identity = join(source.root, 'other-key');
      writeFileSync(identity, createKeyPair().privateKey, { mode: 0o600 });
      const auth = await attempt({ identity });
      assert.deepEqual([auth.kind, auth.reason], ['permanent', 'auth']);
      // No port of those that are given to whoever asks for any.
      const refused = await attempt({ port: 9 });
      assert.deepEqual([refused.kind, refused.reason], ['retryable', 'refused']);
      const silent = createServer((socket: Socket) => void socket.on('error', () => {}));
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      t.after(() => silent.close());
      const address = silent.address();
      const silence = { port: typeof address === 'object' && address ? address.port : 0 };
      const timeout = await attempt(silence, { connectTimeoutMs: 500 });
      assert.deepEqual([timeout.kind, timeout.reason], ['retryable', 'timeout']);
    });

    test('another push holds the lock of rrsync: busy', async (t) => {
      const { locked } = far;
      if (locked === undefined) {
        t.skip(kind.name.startsWith('rsync to rrsync') ? 'known: rrsync has no lock' : 'there is no lock here');
        return;
      }
      const source = makeSource(t);
      const at = place();
      const [slow, other] = [open(t, at), open(t, at)];
      const file = source.add('slow', randomBytes(big));
      let busy: Promise<TransportError> | undefined;
      // The far side has asked for the file by now, and gets none of it before the other push has ended.
      const pace = async (): Promise<void> => {
        busy ??= failureOf(other.put(source.root, [[source.add('other', 'x')]], { signal: never }));
        await busy;
      };
      await slow.put(source.root, [[file]], { signal: never, pace });
      const error = await busy;
      assert.deepEqual([error?.kind, error?.reason], ['busy', 'busy'], error?.message);
      await other.put(source.root, [[source.add('other', 'x')]], { signal: never });
    });
  });
}
