/** A first sync of 1 GiB by each transport, against `rsync -a` over ssh with the same cipher, and against one that syncs its files as we do. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRsyncTransport } from '../../src/replicate/rsync.ts';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import type { PushFile, Transport } from '../../src/replicate/transport.ts';
import { startSshd } from '../support/sshd.ts';
import { run, sshCommand } from './fleet-world.ts';
import { against, median, timed } from './figures.ts';

const fileBytes = 16 * 1024 * 1024;
const fileCount = 64;

export async function benchBulk(rounds: number): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-bench-'));
  const [source, target] = [join(directory, 'source'), join(directory, 'target')];
  await using sshd = await startSshd({ plain: null, sftp: 'internal-sftp', rsync: `rrsync -wo ${target}` });
  try {
    await mkdir(join(source, 'r'), { recursive: true });
    const files: PushFile[] = [];
    for (let n = 0; n < fileCount; n++) {
      const path = `r/big-${n}.apk`;
      await writeFile(join(source, path), randomBytes(fileBytes));
      files.push({ path, size: fileBytes, mtimeSeconds: 1_700_000_000 });
    }
    const { host, port, user, hostKeyFingerprint } = sshd;
    const targetOf = (account: string) => ({
      host,
      port,
      user,
      identity: sshd.identity(account),
      hostKeys: [hostKeyFingerprint],
    });
    const ours: Record<'sftp' | 'rsync' | 'never', Transport> = {
      sftp: createSftpTransport({ target: targetOf('sftp'), path: target }),
      rsync: createRsyncTransport({ target: targetOf('rsync'), path: '/' }),
      never: createRsyncTransport({ target: targetOf('rsync'), path: '/', fsync: false }),
    };
    const measure = async (work: () => Promise<void>): Promise<number> => {
      await rm(target, { recursive: true, force: true });
      await mkdir(target);
      await run(['sync']);
      return timed(work);
    };
    const rsync = (...options: readonly string[]): Promise<void> =>
      run(['rsync', '-a', ...options, '-e', sshCommand(sshd, port), `${source}/`, `${user}@127.0.0.1:${target}/`]);
    const rows: { plain: number; synced: number; sftp: number; rsync: number; never: number }[] = [];
    for (let round = 0; round <= rounds; round++) {
      const row = {
        plain: await measure(() => rsync()),
        synced: await measure(() => rsync('--fsync')),
        sftp: await measure(() => put(ours.sftp, source, files)),
        rsync: await measure(() => put(ours.rsync, source, files)),
        never: await measure(() => put(ours.never, source, files)),
      };
      if (round > 0) rows.push(row);
    }
    for (const transport of Object.values(ours)) await transport.close();
    const times = (of: keyof (typeof rows)[number], than: 'plain' | 'synced'): number =>
      median(rows.map((row) => row[than] / row[of]));
    const speed = (of: keyof (typeof rows)[number]): string =>
      ((fileBytes * fileCount) / 1e3 / median(rows.map((row) => row[of]))).toFixed(0);
    const lines = (['sftp', 'rsync', 'never'] as const).map(
      (of) =>
        `| ${of === 'never' ? 'rsync, fsync: never' : of} | ${speed(of)} | ${against(times(of, 'plain'), 0.8, 'least', { digits: 2 })} | ${times(of, 'synced').toFixed(2)} |`,
    );
    return [
      '| way | MB/s | against rsync -a | against rsync -a --fsync |',
      '|---|---|---|---|',
      `| rsync -a over ssh | ${speed('plain')} | | |`,
      `| rsync -a --fsync over ssh | ${speed('synced')} | ${times('synced', 'plain').toFixed(2)} | |`,
      ...lines,
    ].join('\n');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function put(transport: Transport, source: string, files: readonly PushFile[]): Promise<void> {
  await transport.put(source, [files], { signal: new AbortController().signal });
}
