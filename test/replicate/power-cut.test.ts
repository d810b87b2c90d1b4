/** What a put that has ended is worth when the mirror's power fails in the next instant: real file systems, cut on their block device. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { createRsyncTransport } from '../../src/replicate/rsync.ts';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import type { PushFile } from '../../src/replicate/transport.ts';
import { type Kind, makeImage, mounted, snapshot } from '../fault/power-image.ts';
import { missingProgram, startSshd } from '../support/sshd.ts';

const missing = missingProgram('sshd', 'ssh-keygen', 'rsync', 'losetup', 'mkfs.ext4', 'mkfs.xfs');
const loops = missing === undefined && process.getuid?.() === 0 && spawnSync('losetup', ['-f']).status === 0;
const rounds = 3;

/** Paths that are lost or old when the power fails right after each put. */
async function cutAfterPuts(base: string, kind: Kind, type: 'rsync' | 'sftp', fsync: boolean): Promise<string[]> {
  const at = (name: string): string => join(base, name);
  for (const name of ['host', 'mirror', 'after', 'source']) mkdirSync(at(name));
  makeImage(at('host.img'), 'xfs', 2 ** 31);
  using mounts = new DisposableStack();
  mounts.use(mounted(at('host.img'), 'xfs', at('host')));
  const image = at('host/mirror.img');
  makeImage(image, kind);
  mounts.use(mounted(image, kind, at('mirror')));
  await using sshd = await startSshd({ mirror: type === 'sftp' ? 'internal-sftp' : null });
  const target = {
    host: sshd.host,
    port: sshd.port,
    user: sshd.user,
    identity: sshd.identity('mirror'),
    hostKeys: [sshd.hostKeyFingerprint],
  };
  const create = type === 'sftp' ? createSftpTransport : createRsyncTransport;
  const transport = create({ target, path: at('mirror'), fsync });
  const make = (path: string, text: string, mtimeSeconds: number): PushFile => {
    mkdirSync(dirname(at(`source/${path}`)), { recursive: true });
    writeFileSync(at(`source/${path}`), text);
    return { path, size: text.length, mtimeSeconds };
  };
  const lost: string[] = [];
  for (let n = 1; n <= rounds; n++) {
    const packages = [1, 2].map((k) => make(`main/x86_64/p-${n}-${k}.apk`, `${n}`.repeat(9000 + k), n));
    const names = ['main/aarch64/APKINDEX.tar.gz', 'main/x86_64/APKINDEX.tar.gz', 'lockstep.json'];
    const indexes = names.map((path) => make(path, `generation ${n}`, n));
    await transport.put(at('source'), [packages, indexes], { signal: new AbortController().signal });
    const copy = at('host/cut.img');
    snapshot(image, copy);
    using _ = mounted(copy, kind, at('after'));
    for (const { path } of [...packages, ...indexes]) {
      const there = at(`after/${path}`);
      if (!existsSync(there) || !readFileSync(there).equals(readFileSync(at(`source/${path}`)))) lost.push(path);
    }
    rmSync(copy);
  }
  await transport.close();
  return lost;
}

for (const type of ['rsync', 'sftp'] as const)
  for (const kind of ['ext4', 'xfs'] as const)
    test(`${type} on ${kind}: what was put survives a power cut in the next instant, and does not without syncs`, {
      timeout: 600_000,
    }, async (t) => {
      if (!loops) return t.skip(missing === undefined ? 'needs root and loop devices' : `${missing} is absent`);
      for (const fsync of [true, false]) {
        const base = mkdtempSync(join(tmpdir(), 'lockstepd-mirror-power-'));
        t.after(() => rmSync(base, { recursive: true, force: true }));
        const lost = await cutAfterPuts(base, kind, type, fsync);
        if (fsync) assert.deepEqual(lost, []);
        else assert.ok(lost.length > 0, 'the cut has teeth');
      }
    });
