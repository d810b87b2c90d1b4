import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { open, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { makeIndex } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { createSigningKey } from '../../src/apk/make.ts';
import type { Status } from '../../src/observe/status.ts';
import { Primary, type PrimaryOptions, snapshot } from '../support/primary.ts';

type Batch = Status['batches'][number];

const options = {
  repositories: ['*/{arch}'],
  inbox: '    settle: 300ms',
  more: 'schedule: { rescan: 1s }',
} satisfies PrimaryOptions;

async function start(t: TestContext, over: PrimaryOptions = {}, env: Record<string, string> = {}): Promise<Primary> {
  const primary = await Primary.create({ ...options, ...over });
  t.after(() => primary[Symbol.asyncDispose]());
  await primary.start(env);
  return primary;
}

async function untilReason(primary: Primary, state: string, code: string, path: string): Promise<Batch> {
  let found: Batch | undefined;
  await primary.until(`${state}: ${code} ${path}`, async () => {
    const { batches } = await primary.status();
    found = batches.find((b) => b.state === state && b.reasons.some((r) => r.code === code && r.path === path));
    return found !== undefined;
  });
  return found as Batch;
}

/** Publishes one more package of `good/x86_64`. */
async function publishGood(primary: Primary): Promise<void> {
  const { generation } = await primary.status();
  const good = primary.repository('good/x86_64');
  good.set({ name: 'good', version: `${generation}.1-r0`, contentBytes: 1000, seed: 900 + generation });
  await good.write(primary.inbox);
  await primary.untilGeneration(generation + 1);
}

async function memoryOf(pid: number): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** Processor time that it has taken, in seconds: other than the time of day, no load adds to it. USER_HZ is 100 on Linux. */
async function processorSecondsOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Everything private that the daemon has copied of packages. */
async function copies(primary: Primary): Promise<string[]> {
  return (await readdir(join(primary.root, 'ingest/bpo'))).filter((name) => name.endsWith('.apk'));
}

test('what is over a quota is held with its numbers before a byte is read, and goes out when the quota is raised', async (t) => {
  const tight = {
    ...options,
    inbox: `${options.inbox}\n    quotas: { max_file: 20KiB, max_batch: 40KiB, max_packages: 6 }`,
  };
  const primary = await start(t, tight);
  const [large, many, wide] = ['large', 'many', 'wide'].map((name) => primary.repository(`${name}/x86_64`));
  large?.set({ name: 'big', version: '1-r0', contentBytes: 30_000, seed: 1 });
  await large?.write(primary.inbox);
  const held = await untilReason(primary, 'held', 'QUOTA', 'large/x86_64/big-1-r0.apk');
  assert.match(held.reasons[0]?.detail ?? '', /^\d{5} bytes, at most 20480 \(quotas\.max_file\)/);
  for (let n = 0; n < 5; n++) wide?.set({ name: `w${n}`, version: '1-r0', contentBytes: 10_000, seed: 10 + n });
  await wide?.write(primary.inbox);
  const batch = await untilReason(primary, 'held', 'QUOTA', 'wide/x86_64');
  assert.match(
    batch.reasons.map((r) => r.detail).join(),
    /\d+ bytes are new here, \d+ in the batch, at most 40960 \(quotas\.max_batch\)/,
  );
  for (let n = 0; n < 7; n++) many?.set({ name: `m${n}`, version: '1-r0', contentBytes: 10, seed: 20 + n });
  await many?.write(primary.inbox);
  await untilReason(primary, 'held', 'QUOTA', 'many/x86_64/APKINDEX.tar.gz');
  assert.deepEqual(await copies(primary), []);
  await publishGood(primary);
  assert.deepEqual([...(await snapshot(primary.public)).keys()].filter((path) => path.endsWith('.apk')).length, 1);
  await primary.configure(options);
  const { generation } = await primary.status();
  assert.equal((await primary.control('reload', {})).status, 200);
  await primary.untilGeneration(generation + 1);
  for (const file of ['large/x86_64/big-1-r0.apk', 'wide/x86_64/w4-1-r0.apk', 'many/x86_64/m6-1-r0.apk'])
    await primary.until(file, () => existsSync(join(primary.public, file)));
});

test('sparse terabytes are not read, nor does their sum confuse anybody', async (t) => {
  const primary = await start(t);
  const entry = { arch: 'x86_64', identity: '0'.repeat(40), buildTime: 1, version: '1-r0' };
  const write = async (name: string, files: readonly { name: string; size: number }[]): Promise<void> => {
    const directory = join(primary.inbox, name, 'x86_64');
    await mkdir(directory, { recursive: true });
    for (const file of files) {
      const path = join(directory, `${file.name}-1-r0.apk`);
      await writeFile(path, '');
      await truncate(path, Math.min(file.size, 2 ** 40));
    }
    const index = makeIndex(
      files.map((file) => ({ ...entry, ...file })),
      primary.key,
    );
    await writeFile(join(directory, 'APKINDEX.tar.gz'), index);
  };
  await write('terabyte', [{ name: 'hole', size: 2 ** 40 }]);
  await untilReason(primary, 'held', 'QUOTA', 'terabyte/x86_64/hole-1-r0.apk');
  await write('hundred', [{ name: 'hole', size: 100_000_000 }]);
  const held = await untilReason(primary, 'held', 'INCOMPLETE', 'hundred/x86_64/hole-1-r0.apk');
  assert.match(
    held.reasons.map((r) => r.detail).join(),
    /100000000 bytes, of which only 0 are on the disk: a file with holes/,
  );
  // Their sum is larger than any integer of the store.
  await write(
    'absurd',
    Array.from({ length: 1100 }, (_, n) => ({ name: `a${n}`, size: Number.MAX_SAFE_INTEGER })),
  );
  await untilReason(primary, 'held', 'QUOTA', 'absurd/x86_64/a0-1-r0.apk');
  assert.deepEqual(await copies(primary), []);
  await publishGood(primary);
});

test('sixteen FIFOs that the index names hold nobody up', async (t) => {
  const primary = await start(t);
  const repository = primary.repository('fifo/x86_64');
  for (let n = 0; n < 16; n++) repository.set({ name: `f${n}`, version: '1-r0', contentBytes: 100, seed: n });
  const directory = join(primary.inbox, 'fifo/x86_64');
  await mkdir(directory, { recursive: true });
  execFileSync(
    'mkfifo',
    Array.from({ length: 16 }, (_, n) => join(directory, `f${n}-1-r0.apk`)),
  );
  await writeFile(join(directory, 'APKINDEX.tar.gz'), repository.index());
  for (let n = 0; n < 3; n++) await publishGood(primary);
  const rejected = await untilReason(primary, 'rejected', 'NOT_REGULAR', 'fifo/x86_64/f0-1-r0.apk');
  assert.equal(rejected.reasons.length, 16);
});

test('ten thousand junk entries everywhere cost bounded time and memory, and good batches go out', {
  timeout: 900_000,
}, async (t) => {
  // What is left for the collector to take is no growth: a small heap has it taken at once, on a busy machine too.
  const primary = await start(t, {}, { NODE_OPTIONS: '--max-old-space-size=64 --max-semi-space-size=2' });
  await publishGood(primary);
  const before = await memoryOf(primary.pid);
  const names = Array.from({ length: 10_000 }, (_, n) => `zz-junk-${n}`);
  for (const name of names) await mkdir(join(primary.inbox, name));
  await mkdir(join(primary.inbox, 'mess/x86_64'), { recursive: true });
  for (const directory of ['', 'mess/x86_64', 'good/x86_64'])
    for (const name of names) await writeFile(join(primary.inbox, directory, `${name}.apk`), 'junk');
  let deep = join(primary.inbox, 'mess/x86_64');
  for (let n = 0; n < 200; n++) deep = join(deep, 'deeper');
  await mkdir(deep, { recursive: true });
  const held = await untilReason(primary, 'held', 'QUOTA', '*/{arch}');
  assert.match(held.reasons[0]?.detail ?? '', /more than 1000 directories match/);
  const grown = (await memoryOf(primary.pid)) - before;
  t.diagnostic(`memory ${before >> 20} MiB, ${grown >> 20} MiB more with the junk`);
  assert.ok(grown < 80 * 2 ** 20, `the daemon grew by ${grown >> 20} MiB`);
  for (const name of names) await rm(join(primary.inbox, name), { recursive: true });
  await primary.until('no problem any more', async () =>
    (await primary.status()).batches.every((b) => b.state !== 'held'),
  );
  const begun = await processorSecondsOf(primary.pid);
  await publishGood(primary);
  const seconds = (await processorSecondsOf(primary.pid)) - begun;
  t.diagnostic(`a good batch took ${seconds} s of the processor with 30,000 junk files around it`);
  assert.ok(seconds < 10, `a good batch took ${seconds} s of the processor`);
});

test('a writer that keeps the file open changes what lies in the inbox and nothing else', async (t) => {
  const primary = await start(t);
  const repository = primary.repository('held-open/x86_64');
  const made = repository.set({ name: 'a', version: '1-r0', contentBytes: 5000, seed: 1 });
  const directory = join(primary.inbox, 'held-open/x86_64');
  await mkdir(directory, { recursive: true });
  await using writer = await open(join(directory, made.file), 'w+');
  await writer.write(made.bytes, 0, made.bytes.length, 0);
  const index = repository.index();
  await using indexWriter = await open(join(directory, 'APKINDEX.tar.gz.new'), 'w+');
  await indexWriter.write(index, 0, index.length, 0);
  await rename(join(directory, 'APKINDEX.tar.gz.new'), join(directory, 'APKINDEX.tar.gz'));
  await primary.untilGeneration(1);
  const served = await snapshot(primary.public);
  await writer.write(Buffer.alloc(made.bytes.length, 'BAD!'), 0, made.bytes.length, 0);
  await indexWriter.write(Buffer.alloc(index.length, 'BAD!'), 0, index.length, 0);
  await untilReason(primary, 'rejected', 'FORMAT_GZIP', 'held-open/x86_64/APKINDEX.tar.gz');
  assert.deepEqual(await snapshot(primary.public), served);
  assert.deepEqual(await readFile(join(primary.public, 'held-open/x86_64', made.file)), made.bytes);
  assert.deepEqual(await readFile(join(primary.public, 'held-open/x86_64/APKINDEX.tar.gz')), index);
});

test('whoever is refused for ever does not fill the disk', async (t) => {
  const primary = await start(t, { ...options, more: `${options.more}\nquarantine: { max_batches: 3 }` });
  const stranger = createSigningKey('stranger.rsa.pub');
  const rejected = new Set<string>();
  for (let n = 0; n < 6; n++) {
    const repository = new SampleRepository(`strange${n}/x86_64`, stranger);
    repository.set({ name: 's', version: '1-r0', contentBytes: 10, seed: n });
    await repository.write(primary.inbox);
    await primary.until(`rejection ${n}`, async () => {
      for (const { id, state } of (await primary.status()).batches) if (state === 'rejected') rejected.add(id);
      return rejected.size > n;
    });
    await rm(join(primary.inbox, `strange${n}`), { recursive: true });
  }
  await primary.until(
    'the quarantine to be pruned',
    async () => (await readdir(join(primary.root, 'quarantine'))).length <= 3,
  );
  const kept = (await primary.status()).batches.filter((b) => b.state === 'rejected');
  assert.ok(kept.length <= 4, `${kept.length} batches are remembered`);
});
