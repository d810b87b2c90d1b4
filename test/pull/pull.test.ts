import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { childEnvironment, exec, type ExecResult } from '../../src/system/exec.ts';
import { snapshot } from '../support/primary.ts';
import { rsyncKnows } from '../support/mirror-rsync.ts';
import { type Rsyncd, startRsyncd } from '../support/rsyncd.ts';
import { findProgram, mirrorPath, missingProgram } from '../support/sshd.ts';
import { packageBody, readIndex, Trees } from '../support/trees.ts';

const script = resolve(import.meta.dirname, '../../config/pull/lockstep-pull');
const missing = missingProgram('rsync', 'flock');
const options = missing === undefined ? {} : { skip: `${missing} is not installed` };
const repositories = ['main/x86_64', 'main/aarch64'];

class World implements AsyncDisposable {
  readonly directory: string;
  readonly trees: Trees;
  #rsyncd: Rsyncd | null = null;

  private constructor(directory: string) {
    this.directory = directory;
    this.trees = new Trees(join(directory, 'srv'), repositories);
  }

  static async create(): Promise<World> {
    const world = new World(await mkdtemp(join(tmpdir(), 'lockstepd-pull-')));
    await chmod(world.directory, 0o755);
    await mkdir(world.mirror);
    await mkdir(world.trees.root);
    world.#rsyncd = await startRsyncd(world.trees.public);
    await world.configure();
    return world;
  }

  get mirror(): string {
    return join(this.directory, 'mirror');
  }

  get config(): string {
    return join(this.directory, 'pull.conf');
  }

  async configure(...more: readonly string[]): Promise<void> {
    const lines = [`FROM=${this.#rsyncd?.url}`, `TO=${this.mirror}`, `LOG=${join(this.directory, 'log')}`, ...more];
    await writeFile(this.config, `${lines.join('\n')}\n`);
  }

  pull(...args: readonly string[]): Promise<ExecResult> {
    return exec([script, '--config', this.config, ...args], {
      env: childEnvironment({ PATH: mirrorPath }),
      timeoutMs: 300_000,
    });
  }

  /** The script as a process group of its own, to be killed. */
  start(): ChildProcess {
    return spawn(script, ['--config', this.config, '--foreground'], {
      detached: true,
      stdio: 'ignore',
      env: childEnvironment({ PATH: mirrorPath }),
    });
  }

  /** Makes pulls slow enough to be held, by a configuration that notes the process of each rsync. */
  async slowDown(): Promise<void> {
    const bin = join(this.directory, 'bin');
    await mkdir(bin);
    const notes = join(this.directory, 'rsyncs');
    const wrapper = `#!/bin/sh\necho $$ >> ${notes}\nexec ${findProgram('rsync', mirrorPath)} "$@"\n`;
    await writeFile(join(bin, 'rsync'), wrapper, { mode: 0o755 });
    // Each file is 2 to 3 kB: the pull takes some seconds.
    await this.configure('BWLIMIT=100', `PATH=${bin}:$PATH`);
  }

  /** Stops a slow pull where it has begun to fetch: from then on one tree is its own. Returns what lets it go on. */
  async hold(): Promise<() => void> {
    const staged = join(this.mirror, '.lockstep-pull/new/main');
    await until('the pull does not begin', async () => (await readdir(staged).catch(() => [])).length > 0);
    const [pid] = (await readFile(join(this.directory, 'rsyncs'), 'utf8')).split('\n').map(Number) as [number];
    process.kill(pid, 'SIGSTOP');
    return () => void process.kill(pid, 'SIGCONT');
  }

  async assertInStep(): Promise<void> {
    const [ours, theirs] = [await snapshot(this.trees.public), await snapshot(this.mirror)];
    for (const path of theirs.keys()) if (path.startsWith('.lockstep-pull/')) theirs.delete(path);
    assert.deepEqual(theirs, ours);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rsyncd?.[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Every index of the mirror names only packages that are there with their own content. Returns how many files were read. */
async function readAsUser(mirror: string): Promise<number> {
  let reads = 0;
  for (const repository of repositories) {
    const index = await readIndex(join(mirror, repository, 'APKINDEX.tar.gz')).catch(() => null);
    if (index === null) continue;
    reads++;
    for (const name of index.packages) {
      const body = await readFile(join(mirror, repository, name), 'utf8');
      assert.equal(body, packageBody(name), `${repository}/${name} as index ${index.generation} names it`);
      reads++;
    }
  }
  return reads;
}

async function until(otherwise: string, holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + 120_000; !(await holds()); await sleep(10))
    assert.ok(performance.now() < deadline, otherwise);
}

const names = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, n) => `p${from + n}-1-r0.apk`);

test('a pull brings a mirror to the generation of the primary, and a second one changes nothing', options, async () => {
  await using world = await World.create();
  await world.trees.publish(names(0, 20));
  const first = await world.pull();
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /generation 1\n/);
  await world.assertInStep();
  const before = (await stat(join(world.mirror, 'main/x86_64/APKINDEX.tar.gz'))).ino;
  const second = await world.pull();
  assert.deepEqual([second.code, second.stdout], [0, '']);
  assert.equal((await stat(join(world.mirror, 'main/x86_64/APKINDEX.tar.gz'))).ino, before);

  await writeFile(join(world.mirror, 'main/x86_64/stranger-1-r0.apk'), 'x');
  await mkdir(join(world.mirror, 'old/x86_64'), { recursive: true });
  await world.trees.publish(names(5, 25), names(3, 5));
  const third = await world.pull();
  assert.equal(third.code, 0, third.stderr);
  assert.match(third.stdout, /pruned \d+ files/);
  await world.assertInStep();
  assert.deepEqual(await readdir(world.mirror).then((all) => all.sort()), ['.lockstep-pull', 'lockstep.json', 'main']);
});

test(
  'readers never meet an index without its packages while the primary publishes on and pulls are killed',
  options,
  async () => {
    await using world = await World.create();
    await world.trees.publish(names(0, 30));
    assert.equal((await world.pull()).code, 0);
    const endsAt = performance.now() + 8_000;
    let [reads, killed] = [0, 0];
    // On a busy machine a pull takes longer: then fewer of them are killed in that time.
    const running = (): boolean => performance.now() < endsAt || killed <= 3 || reads < 5000;
    const publishing = (async () => {
      for (let n = 1; running(); n++) {
        // What leaves stays for a while, as in the grace period: a reader goes through one index in far less.
        await world.trees.publish(names(n, n + 30), names(Math.max(0, n - 30), n));
        await world.trees.forget(60);
        await sleep(100);
      }
    })();
    const pulling = (async () => {
      while (running()) {
        const child = world.start();
        const ended = new Promise((done) => child.once('exit', done));
        const kill = Math.random() < 0.5;
        if (kill) await sleep(20 + Math.random() * 250);
        if (kill && child.exitCode === null && child.pid !== undefined) {
          killed++;
          process.kill(-child.pid, 'SIGKILL');
        }
        await ended;
      }
    })();
    const reading = (async () => {
      while (running()) reads += await readAsUser(world.mirror);
    })();
    await Promise.all([publishing, pulling, reading]);
    assert.ok(reads >= 5000, `${reads} reads`);
    assert.ok(killed > 3, `${killed} pulls were killed`);
    const last = await world.pull();
    assert.equal(last.code, 0, last.stderr);
    await world.pull();
    await world.assertInStep();
    assert.deepEqual(
      (await readdir(world.mirror, { recursive: true })).filter((path) => /\.~tmp~|apk\.[A-Za-z0-9]{6}$/.test(path)),
      [],
    );
  },
);

test('a slow pull gets one generation although the link moves on under it', options, async () => {
  await using world = await World.create();
  await world.trees.publish(names(0, 60));
  await world.slowDown();
  const pulling = world.pull();
  const goOn = await world.hold();
  await world.trees.publish(names(30, 90), names(0, 30));
  goOn();
  const { code, stdout } = await pulling;
  assert.equal(code, 0);
  assert.match(stdout, /generation 1\n.*the primary has gone on/s);
  assert.equal((await readIndex(join(world.mirror, 'main/x86_64/APKINDEX.tar.gz'))).generation, 1);
  assert.equal(await readAsUser(world.mirror), 2 * 61);
  await world.configure();
  assert.equal((await world.pull()).code, 0);
  await world.assertInStep();
});

test(
  'a pull that is asked for over ssh answers at once, and none that is asked for meanwhile is lost',
  options,
  async () => {
    await using world = await World.create();
    await world.trees.publish(names(0, 60));
    await world.slowDown();
    const env = childEnvironment({ SSH_ORIGINAL_COMMAND: 'rm -rf / ; lockstep-pull' });
    const ask = (): Promise<ExecResult> => exec([script, '--config', world.config], { env, timeoutMs: 60_000 });
    const first = await ask();
    assert.deepEqual([first.code, first.stdout], [0, 'started\n']);
    const goOn = await world.hold();
    await world.trees.publish(names(0, 61));
    assert.equal((await world.pull()).code, 75, 'another run is at work');
    assert.equal((await ask()).code, 0);
    const refused = async (): Promise<boolean> =>
      (await readFile(join(world.directory, 'log'), 'utf8')).includes('another run is at work');
    await until('the second one is not taken along', refused);
    goOn();
    const generation = async (): Promise<number> =>
      (await readIndex(join(world.mirror, 'main/x86_64/APKINDEX.tar.gz')).catch(() => ({ generation: 0 }))).generation;
    await until('the second generation does not come', async () => (await generation()) === 2);
    // Another pull would only be taken along: this looks whether it has ended.
    const lock = ['flock', '-n', join(world.mirror, '.lockstep-pull/lock'), 'true'] as const;
    const ended = async (): Promise<boolean> =>
      (await exec([...lock], { env: childEnvironment(), timeoutMs: 60_000 })).code === 0;
    await until('the run does not end', ended);
    await world.assertInStep();
    assert.equal((await world.pull()).code, 0);
  },
);

test('what is no public tree, older, or lacks too much changes nothing and says so', options, async () => {
  await using world = await World.create();
  const nothing = await world.pull();
  assert.equal(nothing.code, 75, nothing.stderr);
  await world.trees.publish(names(0, 5));
  await world.trees.publish(names(0, 6));
  assert.equal((await world.pull()).code, 0);
  const before = await snapshot(world.mirror);

  await using older = await World.create();
  await older.trees.publish(names(0, 9));
  const from = /FROM=.*/.exec(await readFile(older.config, 'utf8'))?.[0] ?? '';
  await world.configure(from);
  const refused = await world.pull();
  assert.deepEqual([refused.code, /older than our 2/.test(refused.stderr)], [1, true], refused.stderr);
  await rm(join(older.trees.public, 'lockstep.json'));
  await rm(join(world.mirror, 'lockstep.json'));
  const foreign = await world.pull();
  assert.deepEqual([foreign.code, /no lockstep.json/.test(foreign.stderr)], [75, true], foreign.stderr);
  before.delete('lockstep.json');
  const now = await snapshot(world.mirror);
  for (const map of [before, now]) for (const path of map.keys()) if (path.startsWith('.')) map.delete(path);
  assert.deepEqual(now, before);

  await world.configure('MAX_DELETE=2');
  for (const name of ['x', 'y', 'z']) await writeFile(join(world.mirror, 'main/x86_64', name), '');
  const much = await world.pull();
  assert.deepEqual([much.code, /3 files of ours, more than MAX_DELETE=2/.test(much.stderr)], [1, true], much.stderr);
  await world.configure(`TO=${join(world.directory, 'nowhere')}`);
  const away = await world.pull();
  assert.deepEqual([away.code, /is the disk mounted/.test(away.stderr)], [1, true], away.stderr);
});

test('a part can be pulled, and patterns are not expanded by the shell', options, async (t) => {
  await using world = await World.create();
  await world.trees.publish(names(0, 5));
  const syncs = rsyncKnows('--fsync');
  if (!syncs) t.diagnostic('known: rsync has no --fsync');
  await world.configure("EXCLUDE='/main/aarch*/ /none'", `RSYNC_OPTIONS=${syncs ? '--fsync' : '--no-motd'}`);
  const { code, stderr } = await world.pull();
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readdir(join(world.mirror, 'main')), ['x86_64']);
  assert.equal((await readdir(join(world.mirror, 'main/x86_64'))).length, 6);

  await using other = await World.create();
  await other.trees.publish(names(0, 5));
  // There are such directories on this machine, too.
  await other.configure("EXCLUDE='/m*'");
  assert.equal((await other.pull()).code, 0);
  assert.deepEqual((await readdir(other.mirror)).sort(), ['.lockstep-pull', 'lockstep.json']);
});

test('a full disk leaves what is served as it was, and the next pull goes on', options, async (t) => {
  await using world = await World.create();
  const tmpfs = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', world.mirror] as const;
  const mounted = await exec([...tmpfs], { env: childEnvironment(), timeoutMs: 10_000 }).catch(() => ({ code: 1 }));
  if (mounted.code !== 0) return t.skip('a small tmpfs cannot be mounted here');
  try {
    await world.trees.publish(names(0, 30));
    assert.equal((await world.pull()).code, 0);
    await world.trees.publish(names(30, 400), names(0, 30));
    const full = await world.pull();
    assert.equal(full.code, 1, full.stderr);
    assert.match(full.stderr, /is the disk full/);
    assert.equal((await readIndex(join(world.mirror, 'main/x86_64/APKINDEX.tar.gz'))).generation, 1);
    assert.equal(await readAsUser(world.mirror), 2 * 31);
    await exec(['mount', '-o', 'remount,size=16m', world.mirror], { env: childEnvironment(), timeoutMs: 10_000 });
    assert.equal((await world.pull()).code, 0);
    await world.assertInStep();
  } finally {
    await exec(['umount', '-l', world.mirror], { env: childEnvironment(), timeoutMs: 10_000 });
  }
});
