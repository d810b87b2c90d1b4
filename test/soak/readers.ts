/** Clients that read an index and at once fetch what it names, from the primary and from every mirror, while batches land and the daemon is killed. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import type { SampleRepository } from '../../src/cli/sample-builder.ts';
import { Primary } from '../support/primary.ts';
import { findProgram, missingProgram, startSshd } from '../support/sshd.ts';

export interface SoakOptions {
  readonly seconds: number;
  readonly batchEveryMs: number;
  readonly killEveryMs: number;
}

export interface SoakReport {
  /** Files read, indexes included, by place. */
  readonly reads: Readonly<Record<string, number>>;
  readonly torn: readonly string[];
  readonly batches: number;
  readonly kills: number;
  /** Places that do not serve the last batch in the end. */
  readonly lost: readonly string[];
  /** Of the daemon, each at least 5 s after its start. */
  readonly samples: readonly { readonly openFiles: number; readonly rssMiB: number }[];
}

const repositoryPath = 'main/x86_64';
const packages = 12;

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const torn: string[] = [];
  const reads: Record<string, number> = {};
  const samples: { openFiles: number; rssMiB: number }[] = [];
  await using primary = await Primary.create({ inbox: '    settle: 200ms' });
  const far = (name: string): string => join(primary.directory, 'mirrors', name);
  for (const name of ['disk', 'sftp', 'rsync']) mkdirSync(far(name));
  const rrsync = findProgram('rrsync') ?? 'rrsync';
  const overSsh = missingProgram('sshd', 'ssh-keygen', 'rsync', 'rrsync') === undefined;
  await using sshd = overSsh
    ? await startSshd({ sftp: 'internal-sftp', rsync: `${rrsync} -wo ${far('rsync')}` })
    : { [Symbol.asyncDispose]: async () => {} };
  const mirrors = [`  - { name: disk, transport: { type: directory, path: ${far('disk')} } }`];
  if ('identity' in sshd) {
    for (const [type, path] of [
      ['sftp', far('sftp')],
      ['rsync', '/'],
    ] as const) {
      const place = `host: ${sshd.host}, port: ${sshd.port}, user: ${sshd.user}, path: ${path}`;
      const trust = `identity: ${sshd.identity(type)}, host_key: "${sshd.hostKeyFingerprint}"`;
      mirrors.push(`  - { name: ${type}, transport: { type: ${type}, ${place}, ${trust} } }`);
    }
  }
  await primary.configure({
    inbox: '    settle: 200ms',
    mirrors: mirrors.join('\n'),
    more: 'publish: { grace: 1m, keep_trees_for: 0s, max_trees: 3 }\nguards: { downgrade: allow, rebuilt: allow }',
  });
  const places = new Map([['public', primary.public]]);
  for (const name of overSsh ? ['disk', 'sftp', 'rsync'] : ['disk']) places.set(name, far(name));
  const repository = primary.repository(repositoryPath);
  for (let n = 0; n < packages; n++) repository.set({ name: `p${n}`, version: '1-r0', contentBytes: 3000, seed: n });
  await repository.write(primary.inbox);
  await primary.start();
  await primary.untilGeneration(1);
  const stop = new AbortController();
  const readers = [...places].map(async ([name, directory]) => {
    reads[name] = 0;
    while (!stop.signal.aborted) {
      const found = await readOnce(join(directory, repositoryPath));
      reads[name] = (reads[name] ?? 0) + found.reads;
      if (found.torn !== null) torn.push(`${name}: ${found.torn}`);
      await sleep(10);
    }
  });
  let batches = 1;
  let kills = 0;
  try {
    const end = performance.now() + options.seconds * 1000;
    let killAt = performance.now() + options.killEveryMs;
    let batchAt = 0;
    let sampleAt = performance.now() + 5000;
    while (performance.now() < end) {
      if (performance.now() >= batchAt) {
        batchAt = performance.now() + options.batchEveryMs;
        await nextBatch(repository, ++batches, primary.inbox);
      }
      if (performance.now() >= sampleAt) {
        samples.push(sampleOf(primary.pid));
        sampleAt += 5000;
      }
      if (performance.now() >= killAt) {
        await primary.stop('SIGKILL');
        kills++;
        await primary.start();
        killAt = performance.now() + options.killEveryMs;
        sampleAt = performance.now() + 5000;
      }
      await sleep(50);
    }
    const lost = await untilEverywhere(places, repository, 45_000);
    return { reads, torn, batches, kills, lost, samples };
  } finally {
    stop.abort();
    await Promise.all(readers);
  }
}

/** New versions of two packages; one leaves and comes back. */
async function nextBatch(repository: SampleRepository, number: number, inbox: string): Promise<void> {
  for (const which of [number % packages, (number * 5) % packages])
    repository.set({ name: `p${which}`, version: `${number}-r0`, contentBytes: 3000, seed: 1000 + number * 2 });
  if (number % 2 === 0) repository.remove('coming-and-going');
  else repository.set({ name: 'coming-and-going', version: `${number}-r0`, contentBytes: 3000, seed: number });
  await repository.write(inbox);
}

/** What `apk` does: the index, then at once everything that it names. Nothing is read before the first index is there. */
async function readOnce(directory: string): Promise<{ reads: number; torn: string | null }> {
  let index: Buffer;
  try {
    index = await readFile(join(directory, 'APKINDEX.tar.gz'));
  } catch {
    // A mirror that has not been pushed to for the first time; that it stays empty is seen in the end.
    return { reads: 0, torn: null };
  }
  let reads = 1;
  let text: string;
  try {
    text = gunzipSync(index).toString('latin1');
  } catch (error) {
    return { reads, torn: `the index cannot be read: ${String(error)}` };
  }
  for (const stanza of text.split('\n\n').filter((s) => s.includes('\nP:'))) {
    const field = (name: string): string => new RegExp(`(?:^|\\n|\\0)${name}:(.*)`).exec(stanza)?.[1] ?? '';
    const file = `${field('P')}-${field('V')}.apk`;
    try {
      await using handle = await open(join(directory, file));
      const bytes = await handle.readFile();
      if (bytes.length !== Number(field('S'))) return { reads, torn: `${file}: ${bytes.length} bytes` };
      if (`Q1${createHash('sha1').update(controlOf(bytes)).digest('base64')}` !== field('C'))
        return { reads, torn: `${file}: other bytes` };
    } catch (error) {
      return { reads, torn: String(error) };
    }
    reads++;
  }
  return { reads, torn: null };
}

/** The second of the three gzip members of a package that makePackage made: they are stored, so their starts are plain to see. */
function controlOf(bytes: Buffer): Buffer {
  const start = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  const second = bytes.indexOf(start, 1);
  return bytes.subarray(second, bytes.indexOf(start, second + 1));
}

/** Places that do not come to serve the newest index in time. */
async function untilEverywhere(
  places: ReadonlyMap<string, string>,
  repository: SampleRepository,
  timeoutMs: number,
): Promise<string[]> {
  const wanted = repository.index();
  const behind = (): string[] =>
    [...places].filter(([, directory]) => !isThere(join(directory, repositoryPath), wanted)).map(([name]) => name);
  const deadline = performance.now() + timeoutMs;
  while (behind().length > 0 && performance.now() < deadline) await sleep(100);
  return behind();
}

function isThere(directory: string, index: Buffer): boolean {
  try {
    return readFileSync(join(directory, 'APKINDEX.tar.gz')).equals(index);
  } catch {
    return false;
  }
}

function sampleOf(pid: number): { openFiles: number; rssMiB: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const rssMiB = Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
  return { openFiles: readdirSync(`/proc/${pid}/fd`).length, rssMiB };
}
