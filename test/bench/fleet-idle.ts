/** Many mirrors in one daemon at rest: its memory, and its share of a core, while each is probed as often as by default. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKeyPair, serveSftp } from '../../src/system/ssh-server.ts';
import { serveFiles } from '../support/file-server.ts';
import { against } from './figures.ts';
import { seed, untilInStep } from './fleet-world.ts';
import { BenchDaemon, configure, createWorld } from './world.ts';

/** Clock ticks of /proc/PID/stat per second, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

export async function benchIdle(count: number, restMs: number): Promise<string> {
  await using world = await createWorld(100);
  const { directory } = world;
  await using first = new BenchDaemon(await configure(world, null, null));
  await first.event('batch_published', 1);
  await first.stop();
  const names = Array.from({ length: count }, (_, n) => `m${n}`);
  await mkdir(join(directory, 'trees'), { recursive: true });
  for (const name of names) await seed(world, name);
  const { privateKey, publicKey } = createKeyPair();
  const identity = join(directory, 'idle-key');
  await writeFile(identity, privateKey, { mode: 0o600 });
  await using server = await serveSftp({ root: join(directory, 'trees'), authorizedKey: publicKey, port: 0 });
  await using web = await serveFiles(join(directory, 'trees'));
  const entries = names.map(
    (name) => `  - name: ${name}
    url: ${web.url}${name}/
    transport: { type: sftp, host: 127.0.0.1, port: ${server.port}, user: u, path: /${name}, identity: ${identity}, host_key: "${server.hostKeyFingerprint}" }`,
  );
  const file = await configure(world, null, null);
  await writeFile(file, (await readFile(file, 'utf8')).replace('mirrors: []', `mirrors:\n${entries.join('\n')}`));
  await using daemon = new BenchDaemon(file, { tolerant: true });
  await untilInStep(world, names, 1);
  await sleep(restMs / 2);
  const [cpuBefore, startedMs] = [await cpuSeconds(daemon.pid), performance.now()];
  await sleep(restMs);
  const share = (await cpuSeconds(daemon.pid)) - cpuBefore;
  const percent = (share / (performance.now() - startedMs)) * 100_000;
  const rss = /VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${daemon.pid}/status`, 'utf8'))?.[1];
  const peak = await daemon.peakRssMegabytes();
  return [
    '| mirrors | RSS, MB | peak RSS, MB | % of a core |',
    '|---|---|---|---|',
    `| ${count} | ${against(Number(rss) / 1024, 250, 'most', { unit: ' MB', digits: 0 })} | ${peak.toFixed(0)} | ${against(percent, 5, 'most', { unit: ' %' })} |`,
  ].join('\n');
}

/** Of a process, all its threads, in user and kernel mode. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
