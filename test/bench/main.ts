/**
 * `npm run bench [-- --sizes 1000,10000,100000 --rounds 7]`: from "upload over" to "mirror serves it", against an rsync of the
 * whole tree, in one run; prints tables in Markdown. Real daemon, real sshd, rrsync and rsync on loopback.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { makePackage } from '../../src/apk/make.ts';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { startSshd, type Sshd } from '../support/sshd.ts';
import { median, timed, untilReplaced } from './figures.ts';
import {
  accountOf,
  BenchDaemon,
  configure,
  createWorld,
  upload,
  wholeTreeRsync,
  type MirrorKind,
  type World,
} from './world.ts';

interface Round {
  /** From the plan of the push to the mirror's index being the new one. */
  readonly replicate: number;
  readonly wholeWay: number;
  readonly baseline: number;
}

interface SizeResult {
  readonly count: number;
  readonly rounds: Readonly<Record<MirrorKind, readonly Round[]>>;
  readonly peakRss: number;
}

const packagesInABatch = 20;
const packageBytes = 75_000;
const warmUps = 3;
/** A mirror is tried at most once a second: a batch that comes sooner would wait for that. */
const betweenRoundsMs = 1500;

const { values: settings } = parseArgs({
  options: { sizes: { type: 'string', default: '1000,10000,100000' }, rounds: { type: 'string', default: '7' } },
});
const sizes = settings.sizes.split(',').map(Number);
const rounds = Number(settings.rounds);

console.log(
  `${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.versions.node}, ${rounds} rounds, medians\n`,
);
const results: SizeResult[] = [];
for (const count of sizes) results.push(await benchSize(count));
printReplication(results);
await benchVerification();

async function benchSize(count: number): Promise<SizeResult> {
  await using world = await createWorld(count);
  const { directory } = world;
  await using sshd = await startSshd({
    builder: `rrsync -wo -munge -no-del ${directory}/srv/inbox/bench`,
    sftp: 'internal-sftp',
    unsynced: 'internal-sftp',
    rsync: `rrsync -wo ${directory}/rsync`,
    baseline: `rrsync -wo ${directory}/baseline`,
  });
  let peakRss = 0;
  await using first = new BenchDaemon(await configure(world, sshd, null));
  await first.event('batch_published', 1);
  peakRss = Math.max(peakRss, await first.peakRssMegabytes());
  await first.stop();
  for (const name of ['sftp', 'unsynced', 'rsync', 'baseline'])
    await copyTree(join(directory, 'srv/public/.'), join(directory, name));
  let generation = 1;
  const measure = async (kind: MirrorKind): Promise<Round[]> => {
    await using daemon = new BenchDaemon(await configure(world, sshd, kind));
    await daemon.event('mirror_in_step', generation);
    const done: Round[] = [];
    // The first rounds warm caches and connections, and all trees exist after them: they are not counted.
    for (let round = 0; round < warmUps + rounds; round++) {
      generation++;
      const result = await oneRound(world, sshd, daemon, kind, generation);
      if (round >= warmUps) done.push(result);
    }
    peakRss = Math.max(peakRss, await daemon.peakRssMegabytes());
    await daemon.stop();
    return done;
  };
  const all = {
    sftp: await measure('sftp'),
    'sftp, fsync: never': await measure('sftp, fsync: never'),
    rsync: await measure('rsync'),
  };
  return { count, rounds: all, peakRss };
}

/** One batch of 20 upgraded packages through the whole way, then the same tree by the baseline. */
async function oneRound(
  world: World,
  sshd: Sshd,
  daemon: BenchDaemon,
  kind: MirrorKind,
  generation: number,
): Promise<Round> {
  const { directory, repositories } = world;
  const repository = repositories[generation % repositories.length];
  if (!repository) throw new Error('no repository');
  for (let i = 0; i < packagesInABatch; i++) {
    repository.set({
      name: `pkg-${i}`,
      version: `1.${generation}-r0`,
      contentBytes: packageBytes,
      seed: generation * 1000 + i,
    });
  }
  const batch = join(directory, 'batch');
  await mkdir(batch);
  await repository.write(batch);
  const served = untilReplaced([join(directory, accountOf(kind), repository.path, 'APKINDEX.tar.gz')]);
  await upload(sshd, batch);
  const over = performance.timeOrigin + performance.now();
  const [servedAt = Number.NaN] = await served;
  const { seconds = Number.NaN, time } = await daemon.event('mirror_in_step', generation);
  const pushedAt = Date.parse(time) - seconds * 1000;
  await rm(batch, { recursive: true });
  const started = performance.now();
  await wholeTreeRsync(sshd, join(directory, 'srv/public'));
  const baseline = performance.now() - started;
  await sleep(betweenRoundsMs);
  return { replicate: servedAt - pushedAt, wholeWay: servedAt - over, baseline };
}

async function copyTree(source: string, target: string): Promise<void> {
  const { code, stderr } = await exec(['cp', '-a', source, target], { env: childEnvironment(), timeoutMs: 1_800_000 });
  if (code !== 0) throw new Error(stderr);
}

function printReplication(all: readonly SizeResult[]): void {
  console.log(
    '| packages | transport | push until served, ms | whole-tree rsync, ms | ratio | upload over until served, ms | ratio | peak RSS, MB |',
  );
  console.log('|---|---|---|---|---|---|---|---|');
  for (const { count, rounds: kinds, peakRss } of all) {
    for (const [kind, rows] of Object.entries(kinds)) {
      const ratio = (of: (r: Round) => number): string => `${median(rows.map((r) => r.baseline / of(r))).toFixed(1)}x`;
      const of = (pick: (r: Round) => number): string => median(rows.map(pick)).toFixed(0);
      const push = median(rows.map((r) => r.replicate)).toFixed(1);
      const cells = [
        count,
        kind,
        push,
        of((r) => r.baseline),
        ratio((r) => r.replicate),
        of((r) => r.wholeWay),
        ratio((r) => r.wholeWay),
        peakRss.toFixed(0),
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
  const [small, large] = [all[0], all.at(-1)];
  if (!small || !large || small === large) return;
  console.log(`\nGrowth from ${small.count} to ${large.count} packages:`);
  for (const kind of Object.keys(small.rounds) as MirrorKind[]) {
    const growth = (of: (r: Round) => number): string =>
      (median(large.rounds[kind].map(of)) / median(small.rounds[kind].map(of))).toFixed(2);
    console.log(
      `${kind}: push ${growth((r) => r.replicate)}, whole way ${growth((r) => r.wholeWay)}, whole-tree rsync ${growth((r) => r.baseline)}`,
    );
  }
}

/** A package of 100 MB: verification against a bare SHA-256 of the same bytes, both in this process, alternating. */
async function benchVerification(): Promise<void> {
  const file = join(
    process.env.TMPDIR ?? '/tmp',
    `lockstepd-bench-${process.pid}-${randomBytes(4).toString('hex')}.apk`,
  );
  const made = makePackage(
    { name: 'big', version: '1.0-r0', arch: 'x86_64', contentBytes: 100_000_000, seed: 1 },
    null,
  );
  await writeFile(file, made.bytes);
  try {
    await using verifier = new Verifier({ workers: 1 });
    const times: { bare: number; hash: number; inflate: number }[] = [];
    for (let round = 0; round <= rounds; round++) {
      const bare = await timed(
        async () =>
          void createHash('sha256')
            .update(await readFile(file))
            .digest(),
      );
      const verify = async (inflate: boolean): Promise<number> =>
        timed(async () => {
          await using handle = await open(file);
          const verdict = await verifier.verifyPackage({
            sourceFd: handle.fd,
            entry: made.entry,
            keyring: { keys: [] },
            packageSignatures: 'if-present',
            inflate,
          });
          if (verdict.verdict !== 'accepted') throw new Error(`${verdict.code}: ${verdict.detail}`);
        });
      const row = { bare, hash: await verify(false), inflate: await verify(true) };
      if (round > 0) times.push(row);
    }
    console.log('\n| 100 MB package | ms | speed against bare SHA-256 |\n|---|---|---|');
    console.log(`| read and SHA-256 | ${median(times.map((t) => t.bare)).toFixed(0)} | 1 |`);
    console.log(
      `| verify against its index entry | ${median(times.map((t) => t.hash)).toFixed(0)} | ${median(times.map((t) => t.bare / t.hash)).toFixed(2)} |`,
    );
    console.log(
      `| the same, and inflate the data once (ingest) | ${median(times.map((t) => t.inflate)).toFixed(0)} | ${median(times.map((t) => t.bare / t.inflate)).toFixed(2)} |`,
    );
  } finally {
    await rm(file);
  }
}
