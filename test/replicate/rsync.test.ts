/** What only the rsync transport does: older rsyncs at the mirror, comparing without sending, nothing left running. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TransportError } from '../../src/errors.ts';
import { createRsyncTransport } from '../../src/replicate/rsync.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import { missingProgram, startSshd } from '../support/sshd.ts';

const missing = missingProgram('sshd', 'rsync', 'ssh-keygen');
const skip = missing ? `${missing} is absent` : false;
const never = new AbortController().signal;

async function start(
  t: TestContext,
  script?: string,
): Promise<{ base: string; root: string; source: string; transport: Transport }> {
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-rsync-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const [root, source, command] = [join(base, 'root'), join(base, 'source'), join(base, 'command')];
  mkdirSync(root);
  mkdirSync(source);
  if (script !== undefined) writeFileSync(command, `#!/bin/sh\n${script}\n`);
  if (script !== undefined) chmodSync(command, 0o755);
  const sshd = await startSshd({ mirror: script === undefined ? null : `${command} ${base}` });
  t.after(() => sshd[Symbol.asyncDispose]());
  const { host, port, user, hostKeyFingerprint } = sshd;
  const target = { host, port, user, identity: sshd.identity('mirror'), hostKeys: [hostKeyFingerprint] };
  const transport = createRsyncTransport({ target, path: root });
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

test('more than 64 MiB that are there already are compared by size and second, not read or sent', {
  skip,
}, async (t) => {
  const { root, source, transport } = await start(t);
  const size = 65 * 1024 * 1024;
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
    assert.ok(tries < 300, `still there: ${ours().join()}`);
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
