/**
 * `npm run fault:power -- [CUTS] [SEED]`: batches land on ext4 and on xfs in an image on a loop device; copies of the image at
 * random moments are what power cuts leave. Each is mounted, checked, recovered, checked. Then the same with every fsync left
 * out, which must break at least half. Needs root, loop devices, mkfs.xfs and strace.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { missingProgram } from '../support/sshd.ts';
import { random } from './random.ts';
import { makeFixture, Session, upload, violation } from './session.ts';

const cuts = Number(process.argv[2] ?? '200');
const seed = Number(process.argv[3] ?? '20261122');
const next = random(seed);
/** Enough for one life of the batches; the next life begins with an empty file system. */
const uploads = 60;

/** With what a cut does most harm: nothing is written before its time, and nothing is guessed by the file system. */
const kinds = {
  ext4: { make: ['mkfs.ext4', '-q', '-F'], options: 'noauto_da_alloc,data=writeback,commit=1', bytes: 64 * 2 ** 20 },
  xfs: { make: ['mkfs.xfs', '-q', '-f'], options: 'defaults', bytes: 320 * 2 ** 20 },
};
type Kind = keyof typeof kinds;

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function makeImage(path: string, kind: Kind, bytes: number): void {
  writeFileSync(path, '');
  truncateSync(path, bytes);
  const [program = '', ...args] = kinds[kind].make;
  run(program, ...args, path);
}

interface Writer {
  readonly child: ChildProcess;
  /** The last upload that was said to be published. */
  published(): number;
  end(): Promise<void>;
}

/** Publishes upload after upload until it is ended; `fsync: false` makes every sync a lie. */
function startWriter(directory: string, from: string, fsync: boolean): Writer {
  const node = [process.execPath, join(import.meta.dirname, 'power-writer.ts'), directory, from, String(uploads)];
  const lie = [
    'strace',
    '-f',
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

/** What a cut at one moment leaves: null, or what is wrong with it. */
async function judge(
  image: string,
  options: string,
  at: string,
  from: string,
  promised: number,
): Promise<string | null> {
  run('mount', '-o', `loop,${options}`, image, at);
  try {
    const before = violation(at, promised, from);
    if (before !== null) return `before recovery: ${before}`;
    const session = await Session.open(at);
    const after = violation(at, promised, from);
    await upload(at, uploads, from);
    const again = await session.untilServed(at, uploads, from);
    await session.close();
    if (after !== null) return `after recovery: ${after}`;
    return again ? null : `tried again: ${session.complaints.join(' ')}`;
  } catch (error) {
    return `cannot recover: ${String(error)}`;
  } finally {
    run('umount', at);
  }
}

async function cutOften(kind: Kind, count: number, fsync: boolean, base: string, from: string): Promise<number> {
  const { options, bytes } = kinds[kind];
  const [image, live, at] = [join(base, 'host/live.img'), join(base, 'live'), join(base, 'at')];
  const copies: { copy: string; promised: number }[] = [];
  let broken = 0;
  for (let done = 0; done < count; ) {
    makeImage(image, kind, bytes);
    run('mount', '-o', `loop,${options}`, image, live);
    // The operator's part was there long before.
    for (const name of ['keys', 'srv', 'state']) cpSync(join(from, '..', name), join(live, name), { recursive: true });
    run('sync', '-f', live);
    const writer = startWriter(live, from, fsync);
    try {
      while (writer.published() === 0 && writer.child.exitCode === null) await sleep(20);
      for (let n = 0; n < 20 && done + copies.length < count && writer.child.exitCode === null; n++) {
        await sleep(20 + next() * 300);
        const promised = writer.published();
        if (promised >= uploads - 1) break;
        const copy = join(base, `host/cut-${n}.img`);
        run('cp', '--reflink=always', image, copy);
        copies.push({ copy, promised });
      }
    } finally {
      await writer.end();
      run('umount', live);
    }
    for (const { copy, promised } of copies.splice(0)) {
      const found = await judge(copy, options, at, from, promised);
      if (found !== null && broken++ < 5)
        console.log(`  ${kind}${fsync ? '' : ' without fsync'}: ${found.slice(0, 200)}`);
      rmSync(copy);
      done++;
    }
  }
  console.log(`${kind}${fsync ? '' : ' without fsync'}: ${broken} of ${count} cuts broken`);
  return broken;
}

const missing = missingProgram('strace', 'mkfs.ext4', 'mkfs.xfs', 'losetup');
if (process.getuid?.() !== 0 || missing !== undefined) {
  console.log(`SKIPPED: no power was cut: ${missing === undefined ? 'this needs root' : `${missing} is absent`}`);
} else {
  console.log(`seed ${seed}`);
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
    makeImage(host, 'xfs', 3 * 2 ** 30);
    run('mount', '-o', 'loop', host, join(base, 'host'));
    try {
      await makeFixture(join(base, 'fixture'), uploads);
      const from = join(base, 'fixture/uploads');
      for (const kind of ['ext4', 'xfs'] as const) {
        const whole = Math.ceil(cuts / 2);
        if ((await cutOften(kind, whole, true, base, from)) > 0) process.exitCode = 1;
        const few = Math.ceil(whole / 5);
        if ((await cutOften(kind, few, false, base, from)) < few / 2) {
          console.log(`${kind}: the variant without fsync broke too seldom: this run proves nothing`);
          process.exitCode = 1;
        }
      }
    } finally {
      run('umount', join(base, 'host'));
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}
