/**
 * `npm run fault:power [-- --cuts 200 --seed N]`: batches land, are published and pruned on ext4 and on xfs in an image on a loop
 * device; copies of the image at random moments are what power cuts leave. Each is mounted, judged, started, judged. Then the same
 * with every fsync left out, which must break at least half. Exit code 1 when a bar is missed. Needs root, loop devices, strace.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/errors.ts';
import { missingProgram } from '../support/sshd.ts';
import { type Kind, makeImage, mounted, run, snapshot } from './power-image.ts';
import { judge } from './power-judge.ts';
import { random } from './random.ts';
import { makeFixture } from './session.ts';

const { values: settings } = parseArgs({
  options: {
    cuts: { type: 'string', default: '200' },
    seed: { type: 'string', default: '20261122' },
  },
});
const cuts = Number(settings.cuts);
const next = random(Number(settings.seed));
/** Enough for one life of the batches; the next life begins with an empty file system. */
const uploads = 60;
const longestPauseMs = 250;
/** Of the cuts of each file system, how many are made again without fsync. */
const brokenShare = 0.2;

interface Writer {
  readonly child: ChildProcess;
  /** The last upload that was said to be published. */
  published(): number;
  end(): Promise<void>;
}

/** Publishes upload after upload until it is ended; `fsync: false` makes every sync a lie, SQLite's too. */
function startWriter(directory: string, from: string, fsync: boolean): Writer {
  const node = [process.execPath, join(import.meta.dirname, 'power-writer.ts'), directory, from, String(uploads)];
  const lie = [
    'strace',
    '-f',
    '--seccomp-bpf',
    '-o',
    '/dev/null',
    '-e',
    'trace=fsync,fdatasync',
    '-e',
    'inject=fsync,fdatasync:retval=0',
  ];
  const [program = '', ...args] = fsync ? node : [...lie, ...node];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let published = 0;
  createInterface({ input: child.stdout }).on('line', (line) => (published = Number(line) || published));
  const closed = new Promise((done) => child.once('close', done));
  return {
    child,
    published: () => published,
    end: async () => {
      child.kill('SIGTERM');
      await closed;
    },
  };
}

interface Count {
  torn: number;
  lost: number;
}

async function cutOften(kind: Kind, wanted: number, fsync: boolean, base: string): Promise<Count> {
  const count: Count = { torn: 0, lost: 0 };
  const startedAt = performance.now();
  for (let done = 0, told = 0; done < wanted; ) {
    const copies = await cutOneLife(kind, wanted - done, fsync, base);
    for (const { copy, promised } of copies) {
      const at = join(base, 'at');
      let verdict: Awaited<ReturnType<typeof judge>>;
      try {
        using _ = mounted(copy, kind, at);
        const from = join(base, 'fixture/uploads');
        verdict = await judge({ at, uploads: from, promised, next: uploads, work: join(base, 'work') });
      } catch (error) {
        verdict = { kind: 'torn', detail: `cannot be mounted: ${messageOf(error)}` };
      }
      rmSync(copy);
      done++;
      if (verdict.kind === 'whole') continue;
      count[verdict.kind]++;
      if (told++ < 5)
        console.log(`  ${kind} ${fsync ? '' : 'without fsync '}cut ${done}: ${verdict.detail.slice(0, 300)}`);
    }
  }
  const each = ((performance.now() - startedAt) / wanted / 1000).toFixed(2);
  const what = `${kind}${fsync ? '' : ' without fsync'}`;
  console.log(`${what}: ${wanted} cuts, ${count.torn} torn, ${count.lost} lost (${each} s each)`);
  return count;
}

/** Copies of the image at random moments while the batches land, at most `limit`. */
async function cutOneLife(
  kind: Kind,
  limit: number,
  fsync: boolean,
  base: string,
): Promise<{ copy: string; promised: number }[]> {
  const [image, live] = [join(base, 'host/live.img'), join(base, 'live')];
  const copies: { copy: string; promised: number }[] = [];
  makeImage(image, kind);
  using _ = mounted(image, kind, live);
  // The operator's part was there long before.
  for (const name of ['keys', 'srv', 'state'])
    cpSync(join(base, 'fixture', name), join(live, name), { recursive: true });
  run('sync', '-f', live);
  const writer = startWriter(live, join(base, 'fixture/uploads'), fsync);
  try {
    while (writer.published() === 0 && writer.child.exitCode === null) await sleep(20);
    while (copies.length < limit && writer.child.exitCode === null) {
      await sleep(next() * longestPauseMs);
      const promised = writer.published();
      // The last upload is for the time after the cut.
      if (promised >= uploads - 2) break;
      const copy = join(base, `host/cut-${copies.length}.img`);
      snapshot(image, copy);
      copies.push({ copy, promised });
    }
    if (copies.length === 0) throw new Error('the writer ended before a cut');
    return copies;
  } finally {
    await writer.end();
  }
}

async function cutEverything(base: string): Promise<void> {
  await makeFixture(join(base, 'fixture'), uploads);
  for (const kind of ['ext4', 'xfs'] as const) {
    const whole = await cutOften(kind, cuts, true, base);
    const few = Math.ceil(cuts * brokenShare);
    const broken = await cutOften(kind, few, false, base);
    if (whole.torn + whole.lost > 0) process.exitCode = 1;
    if (broken.torn + broken.lost < few / 2) {
      console.log(`${kind}: the variant without fsync broke too seldom: this run proves nothing`);
      process.exitCode = 1;
    }
  }
}

const missing = missingProgram('strace', 'mkfs.ext4', 'mkfs.xfs', 'losetup');
const free = missing === undefined && spawnSync('losetup', ['-f']).status === 0;
if (process.getuid?.() !== 0 || !free) {
  const why = missing === undefined ? 'this needs root and loop devices' : `${missing} is absent`;
  console.log(`SKIPPED: no power was cut: ${why}`);
} else {
  console.log(`seed ${settings.seed}`);
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-power-'));
  for (const name of ['host', 'live', 'at']) mkdirSync(join(base, name));
  // Ended from outside: nothing stays mounted.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      for (const name of ['at', 'live', 'host']) spawnSync('umount', ['-l', join(base, name)]);
      rmSync(base, { recursive: true, force: true });
      process.exit(1);
    });
  }
  try {
    // Only xfs and btrfs copy an image in one instant.
    const host = join(base, 'host.img');
    makeImage(host, 'xfs', 6 * 2 ** 30);
    using _ = mounted(host, 'xfs', join(base, 'host'));
    await cutEverything(base);
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}
