/**
 * `npm run bench:start [-- --sizes 1000,100000 --rounds 11]`: what a start after a kill in the middle of a publish takes, what
 * publishing 20 packages takes, and what a rebuild of a lost state takes, on trees of these sizes, by turns. Exit code 1 when a bar is missed.
 */
import { lstatSync, readlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { askDaemon } from '../../src/system/control.ts';
import { median } from './figures.ts';
import { BenchDaemon, configure, createWorld, stateOf, type World } from './world.ts';

const { values: settings } = parseArgs({
  options: { sizes: { type: 'string', default: '1000,100000' }, rounds: { type: 'string', default: '11' } },
});
const sizes = settings.sizes.split(',').map(Number);
const rounds = Number(settings.rounds);
const packagesInABatch = 20;
const packageBytes = 75_000;
/** Until every tree exists and caches are warm. */
const warmUps = 3;
const recoveryBarMs = 2000;
const publishBar = 1.3;

/** A world with its daemon and what was measured there, in milliseconds. */
class Subject {
  readonly count: number;
  readonly publish: number[] = [];
  readonly work: number[] = [];
  readonly ready: number[] = [];
  readonly link: number[] = [];
  plainStart = Number.NaN;
  rebuild = Number.NaN;
  misses = 0;
  readonly #world: World;
  readonly #config: string;
  #daemon: BenchDaemon;
  #batches = 1;

  private constructor(count: number, world: World, config: string, daemon: BenchDaemon) {
    this.count = count;
    this.#world = world;
    this.#config = config;
    this.#daemon = daemon;
  }

  static async create(count: number): Promise<Subject> {
    const world = await createWorld(count);
    // Two trees are enough, and all there from the second batch on.
    const config = await configure(world, null, null, 'publish: { keep_trees_for: 0s, max_trees: 2 }');
    const daemon = new BenchDaemon(config);
    await daemon.event('batch_published', 1);
    return new Subject(count, world, config, daemon);
  }

  async publishOnce(counts: boolean): Promise<void> {
    const before = this.#read('SELECT max(number) AS n FROM generation').n;
    await this.#batch();
    await this.#daemon.event('batch_published', Number(before) + 1);
    const {
      copy_ms: copy,
      verify_ms: verify,
      publish_ms: publish,
    } = this.#read('SELECT * FROM generation ORDER BY number DESC LIMIT 1');
    if (!counts) return;
    this.publish.push(Number(publish));
    this.work.push(Number(copy) + Number(verify) + Number(publish));
  }

  /** Kills the daemon between the intent and the commit of a publish, and starts it again. */
  async killInPublish(): Promise<void> {
    await this.#batch();
    {
      using db = new DatabaseSync(stateOf(this.#world).database, { readOnly: true, timeout: 5000 });
      const pending = db.prepare("SELECT 1 FROM generation WHERE state <> 'published'");
      for (const deadline = performance.now() + 60_000; pending.get() === undefined; await sleep(0))
        if (performance.now() > deadline) throw new Error('nothing was published');
      await this.#daemon.stop('SIGKILL');
      // It was quicker than the signal.
      if (pending.get() === undefined) this.misses++;
      else return await this.#restart();
    }
    await this.#restart(false);
  }

  async startPlainly(): Promise<void> {
    await this.#daemon.stop();
    const { ready } = await this.#start();
    this.plainStart = ready;
  }

  async rebuildState(): Promise<void> {
    await this.#daemon.stop();
    await rm(stateOf(this.#world).database, { force: true });
    const { ready } = await this.#start();
    this.rebuild = ready;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop('SIGKILL');
    await this.#world[Symbol.asyncDispose]();
  }

  async #restart(counts = true): Promise<void> {
    const { ready, link } = await this.#start();
    if (!counts) return;
    this.ready.push(ready);
    this.link.push(link);
  }

  /** Time to /readyz 200, and to a link that names what the state says is published. */
  async #start(): Promise<{ ready: number; link: number }> {
    const { socket, database } = stateOf(this.#world);
    const startedAt = performance.now();
    this.#daemon = new BenchDaemon(this.#config);
    let link = Number.NaN;
    for (;;) {
      const answer = await askDaemon(socket, '/readyz').catch(() => null);
      if (Number.isNaN(link) && this.#isSettled(database)) link = performance.now() - startedAt;
      if (answer?.status === 200) return { ready: performance.now() - startedAt, link };
      await sleep(2);
    }
  }

  #isSettled(database: string): boolean {
    if (!lstatSync(database, { throwIfNoEntry: false })) return false;
    const open = this.#read("SELECT count(*) AS n FROM generation WHERE state <> 'published'").n;
    const { tree } = this.#read("SELECT tree FROM generation WHERE state = 'published' ORDER BY number DESC LIMIT 1");
    return open === 0 && readlinkSync(join(this.#world.directory, 'srv/public')) === `trees/${String(tree)}`;
  }

  #read(sql: string): Readonly<Record<string, unknown>> {
    using db = new DatabaseSync(stateOf(this.#world).database, { readOnly: true, timeout: 5000 });
    try {
      return db.prepare(sql).get() ?? {};
    } catch {
      // A new database has no tables yet.
      return {};
    }
  }

  /** Twenty packages of one repository get a new version. */
  async #batch(): Promise<void> {
    const { directory, repositories } = this.#world;
    const repository = repositories[++this.#batches % repositories.length];
    if (!repository) throw new Error('no repository');
    for (let i = 0; i < packagesInABatch; i++) {
      const version = `1.${this.#batches}-r0`;
      const seed = this.#batches * 1000 + i;
      repository.set({ name: `pkg-${i}`, version, contentBytes: packageBytes, seed });
    }
    await repository.write(join(directory, 'srv/inbox/bench'));
  }
}

console.log(
  `${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.versions.node}, ${rounds} rounds, medians\n`,
);
await using stack = new AsyncDisposableStack();
const subjects: Subject[] = [];
for (const count of sizes) subjects.push(stack.use(await Subject.create(count)));
for (let round = 0; round < warmUps + rounds; round++)
  for (const subject of subjects) await subject.publishOnce(round >= warmUps);
for (const subject of subjects) await subject.startPlainly();
for (let round = 0; round < rounds; round++) for (const subject of subjects) await subject.killInPublish();
for (const subject of subjects) await subject.rebuildState();
print();

function print(): void {
  console.log(
    '| packages | publish 20, ms | with copy and verify, ms | plain start until ready, ms | after a kill: ready, ms (worst) | link whole, ms | rebuild of a lost state, ms |',
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const { count, publish, work, plainStart, ready, link, rebuild } of subjects) {
    const cells = [
      count,
      median(publish).toFixed(1),
      median(work).toFixed(1),
      plainStart.toFixed(0),
      `${median(ready).toFixed(0)} (${Math.max(...ready).toFixed(0)} of ${ready.length})`,
      median(link).toFixed(0),
      rebuild.toFixed(0),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
  console.log(
    `\nload ${loadavg()
      .map((one) => one.toFixed(1))
      .join(' ')}`,
  );
  const [small, large] = [subjects[0], subjects.at(-1)];
  if (!small || !large) return;
  const growth = median(large.publish) / median(small.publish);
  const recovery = median(large.ready);
  console.log(
    `publishing: ${growth.toFixed(2)}x (bar ${publishBar}), recovery: ${recovery.toFixed(0)} ms (bar ${recoveryBarMs})`,
  );
  if (growth > publishBar || !(recovery < recoveryBarMs)) process.exitCode = 1;
}
