/** Plays the life of a fleet under a virtual clock: real workers, simulated mirrors, and a judge who looks at each event. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { VirtualClock } from '../support/virtual-clock.ts';
import type { Sabotage } from './broken.ts';
import { Dice } from './dice.ts';
import { FarMirror, type FaultName } from './far-mirror.ts';
import { differences, Judge, type Violation } from './judge.ts';
import { SimPrimary } from './primary.ts';
import { SimProcess } from './process.ts';
import { dayMs, hourMs, minuteMs, nextBurst, nextSpell, temperOf, traitsOf } from './weather.ts';

export interface SimOptions {
  readonly seed: number;
  readonly mirrors: number;
  readonly days: number;
  readonly sabotage?: Sabotage;
  /** The first violation ends the run. */
  readonly untilFirst?: boolean;
}

export interface SimReport {
  readonly violations: readonly Violation[];
  readonly generations: number;
  readonly faults: number;
  readonly restarts: number;
  readonly tries: number;
  readonly longestWaitSeconds: number;
  readonly longestLateMinutes: number;
  readonly mostCalls: number;
  /** After collections, at even distances. */
  readonly heapBytes: readonly number[];
}

const connections = 16;
const bytesPerSecond = 32 * 1024 * 1024;
const graceMs = 6 * hourMs;
/** Half an hour instead of ten minutes: what is due by time alone comes later, and a month takes a third. */
const lookMs = 30 * minuteMs;
const tickMs = 2 * minuteMs;
/** The last faults have gone, and after them the last generation has come out: then everything must be as it should. */
const calmMs = 36 * hourMs;
const lastGenerationMs = 12 * hourMs;
const heapSamples = 12;
/** What may be held more at the most in the second half than in the first: it goes up and down with what is under way. */
const heapSlack = { share: 0.2, bytes: 4 * 1024 * 1024 };

export async function simulate(options: SimOptions): Promise<SimReport> {
  using fleet = new SimFleet(options);
  return await fleet.run();
}

class SimFleet implements Disposable {
  readonly #options: SimOptions;
  readonly #clock = new VirtualClock();
  readonly #dice: Dice;
  readonly #primary: SimPrimary;
  readonly #judge: Judge;
  readonly #mirrors: FarMirror[];
  #process: SimProcess | null = null;
  #faults = 0;
  #restarts = 0;
  #failure: { readonly error: unknown } | null = null;

  constructor(options: SimOptions) {
    this.#options = options;
    this.#dice = new Dice(options.seed);
    this.#primary = new SimPrimary(this.#dice.fork());
    const describe = (mirror: FarMirror): string => {
      const { phase, failures, lastFailure } = this.#process?.workers.get(mirror)?.worker.state ?? {};
      const { confirmed } = this.#primary.store.mirrors.get(mirror.name);
      return `${mirror.traits.kind}, ${phase}, confirmed ${confirmed}, ${failures} failures: ${lastFailure?.message}`;
    };
    const { mirrors } = options;
    this.#judge = new Judge({ clock: this.#clock, connections, bytesPerSecond, mirrors, describe });
    const traits = this.#dice.fork();
    this.#mirrors = Array.from({ length: options.mirrors }, (_, n) => new FarMirror(traitsOf(n, traits), this.#judge));
  }

  async run(): Promise<SimReport> {
    const { days, untilFirst } = this.#options;
    const endMs = days * dayMs;
    const heapBytes: number[] = [];
    const sampleMs = Array.from({ length: heapSamples }, (_, n) => ((n + 1) * endMs) / heapSamples - hourMs);
    this.#primary.publish(this.#clock.now());
    this.#startProcess();
    this.#act((dice) => this.#publishing(dice, endMs - lastGenerationMs));
    this.#act((dice) => this.#restarting(dice, endMs - lastGenerationMs));
    this.#act((dice) => this.#jumping(dice, endMs - calmMs));
    this.#act((dice) => this.#bursts(dice, endMs - calmMs));
    this.#act((dice) => this.#operator(dice, endMs - calmMs));
    for (const mirror of this.#mirrors) this.#act((dice) => this.#weather(dice, mirror, endMs - calmMs));
    this.#act(() => this.#ticking());
    for (let atMs = 0; atMs < endMs; atMs += hourMs) {
      await this.#clock.advance(hourMs);
      if (this.#failure) throw this.#failure.error;
      if (untilFirst && this.#judge.violations.length > 0) break;
      if (sampleMs.some((ms) => ms > atMs && ms <= atMs + hourMs)) heapBytes.push(heapUsed());
    }
    if (this.#judge.violations.length === 0) this.#judgeEnd(heapBytes);
    await this.#process?.stop();
    return this.#report(heapBytes);
  }

  [Symbol.dispose](): void {
    this.#primary[Symbol.dispose]();
  }

  /** Runs one part of the story on dice of its own, until time stands still. */
  #act(part: (dice: Dice) => Promise<void>): void {
    part(this.#dice.fork()).catch((error: unknown) => {
      this.#failure ??= { error };
    });
  }

  #sleep(ms: number): Promise<void> {
    return this.#clock.sleep(ms);
  }

  #startProcess(): void {
    const { sabotage = {} } = this.#options;
    const [clock, primary, judge, mirrors] = [this.#clock, this.#primary, this.#judge, this.#mirrors];
    const limits = { connections, bytesPerSecond, graceMs, lookMs };
    this.#process = new SimProcess({ clock, primary, judge, mirrors, ...limits, dice: this.#dice.fork(), sabotage });
    for (const mirror of mirrors) {
      const { worker } = this.#process.workers.get(mirror) ?? {};
      if (worker?.state.phase === 'blocked' && worker.state.by === 'operator' && mirror.fault !== 'blocked by hand')
        worker.unblock();
    }
  }

  /** Now and then many within minutes, now and then none for hours. */
  async #publishing(dice: Dice, untilMs: number): Promise<void> {
    for (;;) {
      await this.#sleep(dice.chance(0.3) ? dice.wait(5 * minuteMs) : dice.wait(4 * hourMs));
      if (this.#clock.monotonic() > untilMs) return;
      this.#primary.publish(this.#clock.now());
      this.#process?.wake();
    }
  }

  async #restarting(dice: Dice, untilMs: number): Promise<void> {
    for (;;) {
      await this.#sleep(dice.wait(1.5 * dayMs));
      if (this.#clock.monotonic() > untilMs) return;
      this.#restarts++;
      if (dice.chance(0.5)) this.#process?.kill();
      else await this.#process?.stop();
      this.#process = null;
      await this.#sleep(dice.chance(0.7) ? dice.between(2000, 20_000) : dice.between(minuteMs, hourMs));
      this.#startProcess();
    }
  }

  /** The wall clock is wrong for a while. */
  async #jumping(dice: Dice, untilMs: number): Promise<void> {
    for (;;) {
      await this.#sleep(dice.wait(4 * dayMs));
      const leftMs = untilMs - this.#clock.monotonic();
      if (leftMs < 0) return;
      const byMs = Math.round(dice.between(-1, 1) * dice.pick([minuteMs, 3 * hourMs, 2 * dayMs]));
      this.#clock.setWall(byMs);
      await this.#sleep(Math.min(leftMs, dice.wait(6 * hourMs)));
      this.#clock.setWall(-byMs);
    }
  }

  async #bursts(dice: Dice, untilMs: number): Promise<void> {
    for (;;) {
      await this.#sleep(dice.wait(2 * dayMs));
      if (this.#clock.monotonic() > untilMs - 4 * hourMs) return;
      const { fault, share, lastsMs } = nextBurst(dice);
      const hit = this.#mirrors.filter((mirror) => mirror.fault === null && dice.chance(share));
      for (const mirror of hit) this.#begin(mirror, fault);
      await this.#sleep(lastsMs);
      for (const mirror of hit) this.#end(mirror);
    }
  }

  /** Somebody who cannot wait. */
  async #operator(dice: Dice, untilMs: number): Promise<void> {
    while (this.#clock.monotonic() < untilMs) {
      await this.#sleep(dice.wait(2 * hourMs));
      const mirror = dice.pick(this.#mirrors);
      for (let n = dice.whole(1, 8); n > 0; n--) {
        this.#process?.workers.get(mirror)?.worker.pushNow();
        await this.#sleep(dice.wait(2000));
      }
    }
  }

  async #weather(dice: Dice, mirror: FarMirror, untilMs: number): Promise<void> {
    const everyMs = temperOf(dice);
    for (;;) {
      await this.#sleep(dice.wait(everyMs));
      const leftMs = untilMs - this.#clock.monotonic();
      if (leftMs < 0) return;
      const { fault, lastsMs } = nextSpell(dice);
      // What a burst has hit has its fault already.
      if (mirror.fault !== null) continue;
      if (fault === 'wiped' || fault === 'restored') await this.#tamper(mirror, fault === 'restored', everyMs * 0.1);
      else {
        this.#begin(mirror, fault);
        await this.#sleep(Math.min(leftMs, lastsMs));
        this.#end(mirror);
      }
    }
  }

  #begin(mirror: FarMirror, fault: FaultName): void {
    this.#faults++;
    mirror.fault = fault;
    if (fault === 'blocked by hand') this.#process?.workers.get(mirror)?.worker.block('as told');
  }

  #end(mirror: FarMirror): void {
    const { fault } = mirror;
    mirror.fault = null;
    if (fault === 'blocked by hand') this.#process?.workers.get(mirror)?.worker.unblock();
  }

  /** The probes that come in the minutes after it see it. */
  async #tamper(mirror: FarMirror, restore: boolean, backUpAgeMs: number): Promise<void> {
    this.#faults++;
    if (restore) {
      mirror.backUp();
      await this.#sleep(Math.min(dayMs, backUpAgeMs));
    }
    // In the middle of a push nobody looks again: that is the scrub's to find.
    while (mirror.pushing) await this.#sleep(1000);
    mirror.tamper(restore);
    this.#judge.tampered(mirror);
    for (let n = 0; n < 200 && mirror.isTampered; n++) {
      await this.#sleep(5 * minuteMs);
      this.#process?.workers.get(mirror)?.probe.wake();
    }
  }

  async #ticking(): Promise<void> {
    for (;;) {
      await this.#sleep(tickMs);
      this.#judge.tick(this.#mirrors, this.#primary.newest, this.#process !== null, tickMs);
    }
  }

  #judgeEnd(heapBytes: readonly number[]): void {
    const { newest, store } = this.#primary;
    if (newest === null) return;
    const keepAfterMs = this.#clock.now() - graceMs;
    const kept = (repository: string, file: string): boolean =>
      store.generations.isWanted(repository, file, newest.generation, keepAfterMs);
    for (const mirror of this.#mirrors) {
      // Emptied, and brought new indexes before a probe had seen it: the scrub's to find.
      if (this.#judge.isExcused(mirror)) continue;
      const all = differences(mirror, newest, kept);
      // A backup whose indexes were the present ones brings what was pruned meanwhile: only a scrub sees that.
      const found = !mirror.wasRestored && !mirror.isTampered ? all : all.filter((one) => !one.startsWith('has '));
      const more = found.length > 1 ? ` and ${found.length - 1} more` : '';
      const pruned = new Date(store.mirrors.get(mirror.name).prunedUntilMs).toISOString();
      if (found.length > 0)
        this.#judge.violate(
          'exact at the end',
          `${mirror.name} (${mirror.traits.kind}): ${found[0]}${more}, pruned up to ${pruned}`,
        );
    }
    const cut = Math.floor(heapBytes.length / 2);
    const [early, late] = [heapBytes.slice(0, cut), heapBytes.slice(cut)].map((all) => Math.max(0, ...all)) as [
      number,
      number,
    ];
    if (late > early * (1 + heapSlack.share) + heapSlack.bytes)
      this.#judge.violate('memory', `${late >> 10} KiB held in the second half, ${early >> 10} KiB in the first`);
  }

  #report(heapBytes: readonly number[]): SimReport {
    const { violations, tries, longestWaitMs, longestLateMs, mostCalls } = this.#judge;
    return {
      violations,
      generations: this.#primary.newest?.generation ?? 0,
      faults: this.#faults,
      restarts: this.#restarts,
      tries,
      longestWaitSeconds: longestWaitMs / 1000,
      longestLateMinutes: longestLateMs / minuteMs,
      mostCalls,
      heapBytes,
    };
  }
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heapUsed(): number {
  collect();
  return process.memoryUsage().heapUsed;
}
