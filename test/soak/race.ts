/**
 * The racer: while a real daemon looks at its inbox, directories and files of it turn into symlinks to places outside and back, as
 * fast as a process can. Whatever lies outside carries a mark; the mark must never be found in what the daemon keeps or serves.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { Primary } from '../support/primary.ts';

export interface RaceReport {
  readonly flips: number;
  /** Files with the mark that the daemon has kept or served. */
  readonly escapes: readonly string[];
  /** Generations that went out meanwhile, of the repository that was raced for and of another one. */
  readonly generations: number;
  /** Files of the daemon that were searched for the mark. */
  readonly searched: number;
}

const mark = 'outside-of-the-inbox';

/** Swaps, for ever: the repository's directory and a symlink, its parent and a symlink, a package and a symlink. Counts on stdout. */
const racer = `
  const { renameSync } = require('node:fs'); const [base] = process.argv.slice(1); let flips = 0;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const swap = (path, bait) => { try {
    renameSync(path, path + '.aside'); renameSync(bait, path); renameSync(path, bait); renameSync(path + '.aside', path); flips += 2;
  } catch (error) { if (error.code !== 'ENOENT') throw error; } };
  for (;;) {
    // Now and then everything is in its place for a moment: what the daemon has opened then, it goes on with during the next flips.
    Atomics.wait(pause, 0, 0, Math.random() * 8);
    for (let n = 0; n < 25; n++) {
      swap(base + '/main/x86_64', base + '/main/bait'); swap(base + '/main', base + '/bait');
      swap(base + '/main/x86_64/steady-1-r0.apk', base + '/main/x86_64/bait');
    }
    process.stdout.write(flips + '\\n');
  }`;

/** What a busy machine may need more time for: it is raced on until there was as much. */
const [leastFlips, leastSearched] = [1000, 5];

/** Races for `seconds`, or until something came of it. Throws when the daemon does not live through it. */
export async function race(seconds: number): Promise<RaceReport> {
  await using primary = await Primary.create({
    repositories: ['main/{arch}', 'good/{arch}'],
    inbox: '    settle: 300ms',
    more: 'schedule: { rescan: 1s }\nquarantine: { keep: 1d }',
  });
  const trap = join(primary.directory, 'trap');
  const raced = primary.repository('main/x86_64');
  const good = primary.repository('good/x86_64');
  await prepare(primary, trap, raced);
  const flipper = spawn(process.execPath, ['-e', racer, primary.inbox], { stdio: ['ignore', 'pipe', 'inherit'] });
  let flips = 0;
  flipper.stdout.on('data', (chunk: Buffer) => {
    flips = Number(chunk.toString().trimEnd().split('\n').at(-1)) || flips;
  });
  const seen = new Set<string>();
  const escapes = new Set<string>();
  try {
    await primary.start();
    const until = performance.now() + seconds * 1000;
    const isOver = async (): Promise<boolean> =>
      performance.now() > until &&
      flips > leastFlips &&
      seen.size > leastSearched &&
      (await primary.status()).generation > 0;
    // The directory itself, wherever it is called what.
    await using place = await openRaced(primary.inbox);
    for (let n = 1; !(await isOver()); n++) {
      const made = raced.set({ name: 'raced', version: `${n}-r0`, contentBytes: 500, seed: n });
      const decoy = Buffer.alloc(made.bytes.length, mark);
      await writeFile(join(trap, 'x86_64', made.file), decoy);
      await writeFile(`/proc/self/fd/${place.fd}/${made.file}`, made.bytes);
      await replace(`/proc/self/fd/${place.fd}`, raced.index());
      if (n % 5 === 0) {
        good.set({ name: 'good', version: `${n}-r0`, contentBytes: 500, seed: 1_000_000 + n });
        await good.write(primary.inbox);
      }
      for (const path of await search(primary, seen)) escapes.add(path);
      if (flipper.exitCode !== null) throw new Error(`the racer ended with ${flipper.exitCode}`);
      await sleep(200);
    }
    await end(flipper);
    const { generation } = await primary.status();
    // It lives, and what is closed goes out at once.
    good.set({ name: 'last', version: '1-r0', contentBytes: 500, seed: 7 });
    await good.write(primary.inbox);
    await primary.untilGeneration(generation + 1);
    for (const path of await search(primary, seen)) escapes.add(path);
    return { flips, escapes: [...escapes], generations: generation, searched: seen.size };
  } finally {
    await end(flipper);
  }
}

/** The raced repository in the inbox, and outside of it one that is signed as well, so that nothing but the walk keeps it out. */
async function prepare(primary: Primary, trap: string, raced: SampleRepository): Promise<void> {
  const steady = raced.set({ name: 'steady', version: '1-r0', contentBytes: 500, seed: 0 });
  const outside = new SampleRepository('x86_64', primary.key);
  outside.set({ name: mark, version: '1-r0', contentBytes: 500, seed: 1 });
  await outside.write(trap);
  await writeFile(join(trap, 'x86_64', steady.file), Buffer.alloc(steady.bytes.length, mark));
  await raced.write(primary.inbox);
  const main = join(primary.inbox, 'main');
  await symlink(join(trap, 'x86_64'), join(main, 'bait'));
  await symlink(trap, join(primary.inbox, 'bait'));
  await symlink(join(trap, 'x86_64', steady.file), join(main, 'x86_64', 'bait'));
  await mkdir(join(primary.inbox, 'good'), { recursive: true });
}

async function openRaced(inbox: string): Promise<Awaited<ReturnType<typeof open>>> {
  for (;;) {
    try {
      const handle = await open(join(inbox, 'main/x86_64'), 'r');
      const names = await readdir(`/proc/self/fd/${handle.fd}`);
      if (names.some((name) => name.startsWith('steady-')) && names.includes('bait')) return handle;
      await handle.close();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

async function replace(directory: string, index: Buffer): Promise<void> {
  await writeFile(`${directory}/.new`, index);
  await rename(`${directory}/.new`, `${directory}/APKINDEX.tar.gz`);
}

/** The new files below the daemon's directories that carry the mark. */
async function search(primary: Primary, seen: Set<string>): Promise<string[]> {
  const found: string[] = [];
  const index = await readFile(join(primary.directory, 'trap/x86_64/APKINDEX.tar.gz'));
  for (const directory of ['ingest', 'trees', 'quarantine', 'public']) {
    const entries = await readdir(join(primary.root, directory), { recursive: true, withFileTypes: true }).catch(
      () => [],
    );
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name);
      // What is gone meanwhile was looked at earlier, or a later copy of it will be.
      const facts = await stat(path).catch(() => null);
      if (!facts?.isFile()) continue;
      const key = `${facts.ino} ${facts.size} ${facts.mtimeMs} ${facts.ctimeMs}`;
      const bytes = seen.has(key) ? null : await readFile(path).catch(() => null);
      if (bytes === null) continue;
      seen.add(key);
      if (bytes.includes(mark) || bytes.equals(index)) found.push(path);
    }
  }
  return found;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGKILL');
  await closed;
}
