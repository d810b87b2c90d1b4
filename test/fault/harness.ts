/** Lets one fault strike at one system call of a scene, and judges what is left then and after the next clean start. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bases, cuts, makeBases } from './bases.ts';
import { DriverProcess } from './driver-process.ts';
import { canStrike, changing, type Fault, findHit, looking, parsePoints, type Point } from './points.ts';
import { type Report, type SceneName, scenes } from './scenes.ts';
import { attach } from './strace.ts';

const tries = 5;

export interface Outcome {
  readonly point: Point;
  readonly fault: Fault;
  /** The call was made, and the fault struck. */
  readonly fired: boolean;
  readonly violations: readonly string[];
  readonly complaints: readonly string[];
  /** The fault struck, the work is done and nothing was said. */
  readonly silent: boolean;
}

export class FaultHarness implements AsyncDisposable {
  readonly #base: string;
  readonly #args: readonly string[];
  readonly #bases: Bases;
  readonly #lanes: Lane[] = [];
  #number = 0;

  private constructor(base: string, bases: Bases, args: readonly string[]) {
    this.#base = base;
    this.#bases = bases;
    this.#args = args;
  }

  /** `nodeArgs` may load something that breaks the driver on purpose. */
  static async create(nodeArgs: readonly string[] = []): Promise<FaultHarness> {
    const base = await mkdtemp(join(tmpdir(), 'lockstepd-fault-'));
    const harness = new FaultHarness(base, await makeBases(join(base, 'bases')), nodeArgs);
    return harness;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const lane of this.#lanes) await lane.end();
    await rm(this.#base, { recursive: true, force: true });
  }

  /** Every call of a run without a fault, in each thread that makes any. */
  async points(scene: SceneName): Promise<Point[]> {
    await this.#makeCut(scene);
    const lane = this.#takeLane();
    const directory = await this.#copy(scene);
    const trace = join(this.#base, `trace-${this.#number}`);
    const driver = await lane.driver(scene, directory, this.#uploads);
    const calls = [...changing, ...looking];
    const attached = await attach(['-f', '-y', '-s', '300', '-p', String(driver.process.pid), '-o', trace], calls);
    const gone = await driver.process.go();
    await attached.end();
    this.#freeLane(lane);
    if ('died' in gone || !gone.done) throw new Error(`${scene} fails without a fault: ${JSON.stringify(gone)}`);
    await rm(directory, { recursive: true });
    return parsePoints(await readFile(trace, 'utf8'), driver.threads, this.#base);
  }

  /** One run with one fault; more when it misses, because not every run makes equally many calls. */
  async run(scene: SceneName, point: Point, fault: Fault): Promise<Outcome> {
    const lane = this.#takeLane();
    try {
      let nth = point.nth;
      for (let left = tries; ; left--) {
        const { outcome, better } = await this.#runIn(lane, scene, { ...point, nth }, fault);
        if (outcome.fired || left === 1) return outcome;
        nth = better;
      }
    } finally {
      this.#freeLane(lane);
    }
  }

  async #runIn(
    lane: Lane,
    scene: SceneName,
    point: Point,
    fault: Fault,
  ): Promise<{ readonly outcome: Outcome; readonly better: number }> {
    const { thread, call, nth } = point;
    const directory = await this.#copy(scene);
    const log = `${directory}.log`;
    const driver = await lane.driver(scene, directory, this.#uploads);
    const tid = [...driver.threads].find(([, name]) => name === thread)?.[0];
    if (tid === undefined) throw new Error(`no thread ${thread} in ${[...driver.threads.values()].join(' ')}`);
    const inject = `inject=${call}:${fault === 'KILL' ? 'signal=KILL' : `error=${fault}`}:when=${nth}`;
    const attached = await attach(['-p', tid, '-y', '-s', '300', '-e', inject, '-o', log], [call]);
    const descriptors = driver.process.countDescriptors();
    const gone = await driver.process.go();
    await attached.end();
    const died = 'died' in gone;
    const { hit, hitOurs, wanted } = findHit(await readFile(log, 'utf8'), point, this.#base);
    // A kill leaves no mark in the log; wherever it struck, what is left must be whole.
    const fired = fault === 'KILL' ? died : hit !== null && hitOurs;
    const done = !died && gone.done;
    const complaints = died ? [] : gone.complaints;
    const violations: string[] = [];
    if (fired && fault !== 'KILL') {
      if (died) violations.push(`crashed: ${gone.died}`);
      else {
        violations.push(...judgeWords(point, gone));
        const leaked = await driver.process.untilClosed(descriptors);
        if (leaked > 0 && point.call !== 'close') violations.push(`${leaked} descriptors leaked`);
      }
    }
    if (fired || !died) {
      const order = { order: 'again', scene, directory, uploads: this.#uploads, done } as const;
      const { violations: found } = await lane.judge().again(order);
      violations.push(...found.filter((one) => !isKeptOnPurpose(one, complaints)));
    }
    // An injected close has closed nothing: this process is not to be used any more.
    if (died || call === 'close' || violations.length > 0) await lane.endDriver();
    await rm(directory, { recursive: true });
    await rm(log, { force: true });
    const silent = fired && done && complaints.length === 0;
    return { outcome: { point, fault, fired, violations, complaints, silent }, better: wanted ?? nth + 1 };
  }

  get #uploads(): string {
    return join(this.#base, 'bases/uploads');
  }

  /** Makes what a scene begins with, if it begins with what a kill has left: kills a publish at the call that `cuts` names. */
  async #makeCut(scene: SceneName): Promise<void> {
    const { base } = scenes[scene];
    const cut = cuts[base];
    if (cut === undefined || this.#bases.has(base)) return;
    const points = (await this.points('publish')).filter((point) => canStrike('KILL', point));
    const at = points.findIndex(cut.at);
    const point = points[at + cut.after];
    if (at < 0 || point === undefined) throw new Error(`${base}: no such call`);
    const lane = this.#takeLane();
    const directory = await this.#copy('publish');
    const driver = await lane.driver('publish', directory, this.#uploads);
    const tid = [...driver.threads].find(([, name]) => name === point.thread)?.[0] ?? '';
    const inject = `inject=${point.call}:signal=KILL:when=${point.nth}`;
    const attached = await attach(['-p', tid, '-e', inject, '-o', '/dev/null'], [point.call]);
    const gone = await driver.process.go();
    await attached.end();
    await lane.endDriver();
    this.#freeLane(lane);
    if (!('died' in gone)) throw new Error(`${base}: the driver was not killed at ${JSON.stringify(point)}`);
    this.#bases.set(base, directory);
  }

  #takeLane(): Lane {
    const lane = this.#lanes.find((one) => !one.taken) ?? new Lane(this.#args, this.#base);
    if (!this.#lanes.includes(lane)) this.#lanes.push(lane);
    lane.taken = true;
    return lane;
  }

  #freeLane(lane: Lane): void {
    lane.taken = false;
  }

  async #copy(scene: SceneName): Promise<string> {
    const from = this.#bases.get(scenes[scene].base);
    if (from === undefined) throw new Error(`no ${scenes[scene].base}`);
    const directory = join(this.#base, `run-${this.#number++}`);
    // Of all copiers this one keeps two names of a file two names of a file.
    const copying = spawn('cp', ['-a', from, directory]);
    await once(copying, 'close');
    if (copying.exitCode !== 0) throw new Error(`cp: exit code ${copying.exitCode}`);
    return directory;
  }
}

/** Whether enough was said, by who lived on. */
function judgeWords(point: Point, gone: Report): string[] {
  const violations: string[] = [];
  const { done, complaints } = gone;
  const said = complaints.join(' ');
  if (!done && said === '') violations.push('not done, and not a word of it');
  if (said !== '' && !isClear(said)) violations.push(`does not say what failed: ${said}`);
  // A promise of the disk that was broken must be heard of: whether the work is done only a power cut would tell.
  if (said === '' && point.call.endsWith('sync') && !point.redundant) violations.push('a sync that failed in silence');
  return violations;
}

/** What lies beside an index that could not be verified when the state was rebuilt stays until another index comes. */
function isKeptOnPurpose(found: string, complaints: readonly string[]): boolean {
  return found.startsWith('left over: trees/') && complaints.some((said) => said.startsWith('state_index_unverified'));
}

/** A code of the system's, or SQLite's or our own words for it. */
function isClear(said: string): boolean {
  return /\bE[A-Z]{2,}\b|disk I\/O error|disk is full|unable to open database|cannot be (?:opened|locked)|DISK/.test(
    said,
  );
}

/** A driver and a judge that work side by side with those of other lanes. */
class Lane {
  taken = false;
  readonly #args: readonly string[];
  readonly #temporary: string;
  #driver: DriverProcess | null = null;
  #judge: DriverProcess | null = null;

  constructor(args: readonly string[], temporary: string) {
    this.#args = args;
    this.#temporary = temporary;
  }

  /** A driver that waits at the gate of `scene`. */
  async driver(
    scene: SceneName,
    directory: string,
    uploads: string,
  ): Promise<{ readonly process: DriverProcess; readonly threads: ReadonlyMap<string, string> }> {
    if (!this.#driver?.isAlive) this.#driver = new DriverProcess(this.#args, this.#temporary);
    const { threads } = await this.#driver.open({ order: 'open', scene, directory, uploads });
    return { process: this.#driver, threads: new Map(threads) };
  }

  judge(): DriverProcess {
    if (!this.#judge?.isAlive) this.#judge = new DriverProcess([], this.#temporary);
    return this.#judge;
  }

  async endDriver(): Promise<void> {
    await this.#driver?.end();
    this.#driver = null;
  }

  async end(): Promise<void> {
    await this.endDriver();
    await this.#judge?.end();
  }
}
