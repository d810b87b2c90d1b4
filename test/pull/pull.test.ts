import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { childEnvironment, exec, type ExecResult } from '../../src/system/exec.ts';
import { snapshot } from '../support/primary.ts';
import { type Rsyncd, startRsyncd } from '../support/rsyncd.ts';
import { missingProgram } from '../support/sshd.ts';
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
    return exec([script, '--config', this.config, ...args], { env: childEnvironment(), timeoutMs: 60_000 });
  }

  /** The script as a process group of its own, to be killed. */
  start(): ChildProcess {
    return spawn(script, ['--config', this.config, '--foreground'], { detached: true, stdio: 'ignore' });
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
    const until = performance.now() + 8_000;
    const running = (): boolean => performance.now() < until;
    let [reads, killed] = [0, 0];
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
