/** What the sftp transport asks of a server that is a table: reads, and when files go out in a burst. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import type { Transport, Wave } from '../../src/replicate/transport.ts';
import { status } from '../../src/system/ssh-sftp-wire.ts';
import { SftpTable, type TableOptions } from './sftp-table.ts';

const { signal } = new AbortController();

async function start(options: TableOptions = {}): Promise<{ server: SftpTable; transport: Transport }> {
  const { server, session } = await SftpTable.start(options);
  const target = { host: 'h', port: 22, user: 'u', identity: '/key', hostKeys: [`SHA256:${'A'.repeat(43)}`] };
  const connection = { sftp: async () => session, spareSftp: () => [], reset: () => {}, close: async () => {} };
  return { server, transport: createSftpTransport({ target, path: '/' }, connection) };
}

test('a file is read without a question about its end', async () => {
  const { server, transport } = await start();
  server.files.set('/trace', { data: Buffer.from('held') });
  assert.equal(String(await transport.read?.('trace', 100, { signal })), 'held');
  assert.deepEqual(
    server.seen.filter((one) => !one.startsWith('close')),
    ['open /trace', 'fstat /trace', 'read /trace'],
  );
});

test('a file is read whole in pieces, also where the server does not tell its size, and not beyond the limit', async () => {
  const data = Buffer.from('0123456789'.repeat(7000));
  for (const refuse of [() => undefined, (request: string) => (request === 'fstat' ? 8 : undefined)]) {
    const { server, transport } = await start({ refuse, mostRead: 9000 });
    server.files.set('/file', { data });
    server.files.set('/empty', { data: Buffer.alloc(0) });
    assert.deepEqual(await transport.read?.('file', data.length, { signal }), data);
    assert.equal(await transport.read?.('file', data.length - 1, { signal }), null);
    assert.deepEqual(await transport.read?.('empty', 0, { signal }), Buffer.alloc(0));
    assert.equal(await transport.read?.('absent', 100, { signal }), null);
    assert.equal(server.openHandles, 0);
  }
});

/** Puts files, and tells whether their bytes went out before the first answer came. */
async function putAtOnce(
  t: TestContext,
  { server, transport }: { readonly server: SftpTable; readonly transport: Transport },
  ...paths: readonly string[]
): Promise<boolean> {
  const root = mkdtempSync(join(tmpdir(), 'lockstepd-sftp-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const wave: Wave = paths.map((path) => {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), path);
    return { path, size: path.length, mtimeSeconds: 1 };
  });
  server.seen.length = 0;
  server.holds = true;
  const done = transport.put(root, [wave], { signal });
  for (let n = 0; n < 50; n++) await turn();
  const isAtOnce = server.seen.some((one) => one.startsWith('write'));
  server.release();
  await done;
  for (const path of paths) assert.equal(server.shown[`/${path}`], path);
  return isAtOnce;
}

test('files go out at once where others went before, but not into a directory that may not be there', async (t) => {
  const far = await start();
  assert.equal(await putAtOnce(t, far, 'a', 'b'), false);
  assert.equal(await putAtOnce(t, far, 'a', 'c'), true);
  assert.equal(await putAtOnce(t, far, 'd', 'new/e'), false);
  assert.equal(await putAtOnce(t, far, 'new/f', 'a'), true);
});

test('a directory that has gone is made again', async (t) => {
  const far = await start();
  await putAtOnce(t, far, 'new/a');
  far.server.directories.delete('/new');
  assert.equal(await putAtOnce(t, far, 'new/b'), true, 'and once more the usual way');
  assert.ok(far.server.seen.includes('mkdir /new'));
});

test('where a burst was refused the session gets no more of them', async (t) => {
  let refusals = 0;
  const far = await start({
    refuse: (request) => (request === 'fsync' && refusals-- > 0 ? status.failure : undefined),
  });
  await putAtOnce(t, far, 'a');
  refusals = 1;
  assert.equal(await putAtOnce(t, far, 'b'), true);
  assert.equal(await putAtOnce(t, far, 'c'), false);
});
