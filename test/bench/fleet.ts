/**
 * `npm run bench:fleet [-- --sections near,far,hole,bulk,idle --packages 10000 --rounds 5]`: many mirrors at once against the
 * programs that do the same work, in one run; prints tables in Markdown, medians of alternating rounds.
 */
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startFarLink } from '../support/far-link.ts';
import { startProxy } from '../support/proxy.ts';
import { startSshd, type Sshd } from '../support/sshd.ts';
import { benchBulk } from './fleet-bulk.ts';
import { benchIdle } from './fleet-idle.ts';
import {
  accounts,
  configureFleet,
  type FleetMirror,
  ftpsync,
  fullRsync,
  Lsyncd,
  mirrorCount,
  nextBatch,
  run,
  seed,
  treeOf,
  untilAllServe,
  untilInStep,
} from './fleet-world.ts';
import { against, median, timed } from './figures.ts';
import { BenchDaemon, configure, createWorld, upload, type World } from './world.ts';

const warmUps = 2;
/** So many times faster than those we want to be, see issue 5. */
const nearBars: Record<
  'sftp' | 'rsync',
  { readonly full: number; readonly ftpsync?: number; readonly lsyncd?: number }
> = {
  sftp: { full: 10, ftpsync: 20, lsyncd: 20 },
  rsync: { full: 3 },
};
const { values: settings } = parseArgs({
  options: {
    sections: { type: 'string', default: 'near,far,hole,bulk,idle' },
    packages: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '5' },
  },
});
const sections = settings.sections.split(',');
const rounds = Number(settings.rounds);

console.log(
  `${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.versions.node}, ${rounds} rounds`,
);

/** A published world with all trees in step, and the generation it is at. */
interface Fleet {
  readonly world: World;
  readonly sshd: Sshd;
  generation: number;
}

if (sections.some((one) => ['near', 'far', 'hole'].includes(one))) {
  await using world = await createWorld(Number(settings.packages));
  await using sshd = await startSshd(accounts(world, [...names('rsync'), ...names('full')]));
  await using first = new BenchDaemon(await configure(world, null, null));
  await first.event('batch_published', 1);
  await first.stop();
  const fleet: Fleet = { world, sshd, generation: 1 };
  if (sections.includes('near')) await benchNear(fleet);
  if (sections.includes('far')) await benchFar(fleet);
  if (sections.includes('hole')) await benchHole(fleet);
}
if (sections.includes('bulk')) {
  title('A first sync of 1 GiB');
  console.log(await benchBulk(rounds));
}
if (sections.includes('idle')) {
  title('200 mirrors in one daemon, at rest');
  console.log(await benchIdle(200, 60_000));
}

async function benchNear(fleet: Fleet): Promise<void> {
  const { world, sshd } = fleet;
  title(`${mirrorCount} mirrors, ${settings.packages} packages, ms until the last serves the new generation`);
  console.log(
    '| mirrors | ms | full rsync | ratio | ftpsync | ratio | lsyncd, delay | ratio |\n|---|---|---|---|---|---|---|---|',
  );
  const source = treeOf(world, 'source');
  const peers = { full: names('full'), ftpsync: names('ftpsync'), lsyncd: names('lsyncd') };
  // As it ships lsyncd waits 15 s for more to come.
  for (const [kind, delay] of [
    ['sftp', null],
    ['sftp', 1],
    ['rsync', 0],
  ] as const) {
    for (const name of [...names(kind), ...Object.values(peers).flat(), 'source']) await seed(world, name);
    await using lsyncd = await Lsyncd.start(world, sshd, peers.lsyncd, `${source}/`, delay);
    const rows: Record<'ours' | 'full' | 'ftpsync' | 'lsyncd', number>[] = [];
    await withDaemon(fleet, mirrorsOf(kind, sshd.port), async (publish) => {
      for (let round = 0; round < warmUps + rounds; round++) {
        const { ms: ours, batch, repository } = await publish();
        const full = await timed(() => inParallel(peers.full, (name) => fullRsync(world, sshd, name, sshd.port)));
        const pulled = untilAllServe(world, peers.ftpsync, repository);
        const triggered = performance.timeOrigin + performance.now();
        await inParallel(peers.ftpsync, (name) => ftpsync(world, sshd, name, sshd.port));
        const twice = (await pulled) - triggered;
        const served = untilAllServe(world, peers.lsyncd, repository);
        await run(['rsync', '-rtc', `${batch}/`, `${source}/`]);
        const copied = performance.timeOrigin + performance.now();
        const last = await served;
        // Its removals and its last runs must not disturb the next round.
        await Lsyncd.untilQuiet(join(world.directory, 'lsyncd.log'));
        if (round >= warmUps) rows.push({ ours, full, ftpsync: twice, lsyncd: last - copied });
      }
    });
    await lsyncd[Symbol.asyncDispose]();
    const of = (key: keyof (typeof rows)[number]): string => median(rows.map((row) => row[key])).toFixed(0);
    const ratio = (key: 'full' | 'ftpsync' | 'lsyncd'): string => {
      const times = median(rows.map((row) => row[key] / row.ours));
      const bar = nearBars[kind][key];
      return bar === undefined ? `${times.toFixed(1)}x` : against(times, bar, 'least');
    };
    console.log(
      `| ${kind} | ${of('ours')} | ${of('full')} | ${ratio('full')} | ${of('ftpsync')} | ${ratio('ftpsync')} | ${of('lsyncd')} (${delay === null ? 'as it ships' : `delay ${delay}`}) | ${ratio('lsyncd')} |`,
    );
  }
}

async function benchFar(fleet: Fleet): Promise<void> {
  const { world, sshd } = fleet;
  const [roundTripMs, bitsPerSecond] = [50, 100_000_000];
  title(`A far link, ${roundTripMs} ms round trip and ${bitsPerSecond / 1e6} Mbit/s, ${settings.packages} packages`);
  await using link = await startFarLink({ targets: [sshd.port], roundTripMs, bitsPerSecond });
  const port = link.ports[0] ?? 0;
  console.log(
    '| mirrors | ms until the last serves | floor of the bytes alone | ratio | full rsync of one | ratio |\n|---|---|---|---|---|---|',
  );
  for (const [kind, count, bar] of [
    ['sftp', 1, 4],
    ['rsync', 1, 1.7],
    ['sftp', mirrorCount, null],
  ] as const) {
    const mirrors = mirrorsOf(kind, port).slice(0, count);
    for (const { name } of mirrors) await seed(world, name);
    await seed(world, 'full0');
    const rows: { ours: number; floor: number; full: number }[] = [];
    await withDaemon(fleet, mirrors, async (publish) => {
      for (let round = 0; round < warmUps + rounds; round++) {
        const { ms: ours, bytes } = await publish();
        const full = await timed(() => fullRsync(world, sshd, 'full0', port));
        const floor = ((bytes * 8 * count) / bitsPerSecond) * 1000;
        if (round >= warmUps) rows.push({ ours, floor, full });
      }
    });
    const of = (key: 'ours' | 'floor' | 'full'): number => median(rows.map((row) => row[key]));
    const faster = median(rows.map((row) => row.full / row.ours));
    const aboveFloor = of('ours') / of('floor');
    // One mirror is held against the full rsync, all of them against what the bytes alone take.
    const ratios =
      bar === null
        ? [against(aboveFloor, 1.4, 'most', { digits: 2 }), `${faster.toFixed(1)}x`]
        : [`${aboveFloor.toFixed(2)}x`, against(faster, bar, 'least')];
    console.log(
      `| ${count} ${kind} | ${of('ours').toFixed(0)} | ${of('floor').toFixed(0)} | ${ratios[0]} | ${of('full').toFixed(0)} | ${ratios[1]} |`,
    );
  }
}

/** One mirror that is a black hole, among 8: what it costs the other seven. */
async function benchHole(fleet: Fleet): Promise<void> {
  const { world, sshd } = fleet;
  title('One black-holed mirror among 8, ms until the last of the other seven serves');
  await using hole = await startProxy(null);
  const seven = mirrorsOf('sftp', sshd.port).slice(1);
  const black: FleetMirror = { name: 'sftp0', kind: 'sftp', port: hole.port, dead: true };
  const times: { with: number[]; without: number[] } = { with: [], without: [] };
  for (const { name } of seven) await seed(world, name);
  for (let block = 0; block < 6; block++) {
    const side = block % 2 === 0 ? 'without' : 'with';
    const mirrors = side === 'with' ? [black, ...seven] : seven;
    await withDaemon(fleet, mirrors, async (publish) => {
      for (let round = 0; round < warmUps + rounds; round++) {
        // A mirror is tried at most once a second: the wait for that would hide what is measured.
        await sleep(1500);
        const { ms } = await publish();
        if (round >= warmUps) times[side].push(ms);
      }
    });
  }
  const [alone, beside] = [median(times.without), median(times.with)];
  console.log('| without | with | change |\n|---|---|---|');
  console.log(
    `| ${alone.toFixed(1)} | ${beside.toFixed(1)} | ${against((beside / alone - 1) * 100, 10, 'most', { unit: ' %' })} |`,
  );
}

interface Published {
  /** From the log's `batch_published` until the last of the mirrors has its index replaced. */
  readonly ms: number;
  readonly batch: string;
  readonly repository: string;
  /** Of the packages and the index. */
  readonly bytes: number;
}

async function withDaemon(
  fleet: Fleet,
  mirrors: readonly FleetMirror[],
  use: (publish: () => Promise<Published>) => Promise<void>,
): Promise<void> {
  const { world, sshd } = fleet;
  const watched = mirrors.filter(({ dead }) => !dead).map(({ name }) => name);
  await using daemon = new BenchDaemon(await configureFleet(world, sshd, mirrors), { tolerant: true });
  await untilInStep(world, watched, fleet.generation);
  await use(async () => {
    fleet.generation++;
    const { batch, repository, bytes } = await nextBatch(world, fleet.generation);
    const served = untilAllServe(world, watched, repository);
    await upload(sshd, batch);
    const { time } = await daemon.event('batch_published', fleet.generation, 60_000);
    const last = await served;
    await untilInStep(world, watched, fleet.generation);
    return { ms: last - Date.parse(time), batch, repository, bytes };
  });
}

function mirrorsOf(kind: 'sftp' | 'rsync', port: number): FleetMirror[] {
  return names(kind).map((name) => ({ name, kind, port }));
}

function names(kind: string): string[] {
  return Array.from({ length: mirrorCount }, (_, n) => `${kind}${n}`);
}

async function inParallel(all: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
  await Promise.all(all.map(work));
}

function title(text: string): void {
  console.log(`\n${text} (load ${loadavg()[0]?.toFixed(1)}):\n`);
}
