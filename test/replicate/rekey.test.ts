/** A server that wants new keys in the middle of a transfer (RekeyLimit): all arrives, byte for byte. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { createRsyncTransport } from '../../src/replicate/rsync.ts';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';
import { missingProgram, startSshd } from '../support/sshd.ts';

const missing = missingProgram('sshd', 'rsync', 'ssh-keygen');

for (const [kind, create] of [
  ['sftp', createSftpTransport],
  ['rsync', createRsyncTransport],
] as const) {
  test(`${kind}: new keys in the middle of a transfer`, {
    skip: missing ? `${missing} is absent` : false,
  }, async (t) => {
    const base = mkdtempSync(join(tmpdir(), 'lockstepd-rekey-'));
    removeAtEnd(t, base);
    const [root, source] = [join(base, 'root'), join(base, 'source')];
    for (const directory of [root, source]) mkdirSync(directory);
    const sshd = await startSshd({ mirror: null }, ['RekeyLimit 1M']);
    t.after(() => sshd[Symbol.asyncDispose]());
    const { host, port, user, hostKeyFingerprint } = sshd;
    const target = { host, port, user, identity: sshd.identity('mirror'), hostKeys: [hostKeyFingerprint] };
    const transport = create({ target, path: root });
    t.after(() => transport.close());
    const files = ['a', 'b', 'c', 'd', 'e'].map((path) => {
      writeFileSync(join(source, path), randomBytes(20_000_000));
      return { path, size: 20_000_000, mtimeSeconds: 1_700_000_000 };
    });
    await transport.put(source, [files.slice(0, 4), files.slice(4)], { signal: AbortSignal.timeout(120_000) });
    for (const { path } of files)
      assert.ok(readFileSync(join(root, path)).equals(readFileSync(join(source, path))), path);
  });
}
