/** The daemon of a simulation: workers, limits and probes as the real one makes them, in a process that can be ended or killed. */
import type { Metrics } from '../../src/observe/metrics.ts';
import type { IndexProbe, ProbeResult, Prober } from '../../src/observe/probe.ts';
import { ProbeService } from '../../src/daemon/probes.ts';
import { initialState } from '../../src/replicate/mirror.ts';
import { limitTransport } from '../../src/replicate/limited.ts';
import { type PushPort, storedStates } from '../../src/replicate/ports.ts';
import { MirrorPush } from '../../src/replicate/push.ts';
import { retrying } from '../../src/replicate/retry.ts';
import { Slots } from '../../src/replicate/slots.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import { MirrorWorker } from '../../src/replicate/worker.ts';
import { wrapPush } from '../../src/replicate/wrap-push.ts';
import type { Clock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';
import { Throttle } from '../../src/system/throttle.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';
import type { Sabotage } from './broken.ts';
import type { Dice } from './dice.ts';
import type { FarMirror } from './far-mirror.ts';
import { farTransport } from './far-transport.ts';
import type { Judge } from './judge.ts';
import { partsOf } from './far-mirror.ts';
import { primaryName, type SimPrimary } from './primary.ts';

export interface ProcessDeps {
  readonly clock: VirtualClock;
  readonly primary: SimPrimary;
  readonly judge: Judge;
  readonly dice: Dice;
  readonly mirrors: readonly FarMirror[];
  readonly connections: number;
  readonly bytesPerSecond: number;
  readonly graceMs: number;
  readonly lookMs: number;
  readonly sabotage: Sabotage;
}

/** As in daemon/mirrors.ts. */
const startSpreadMs = 20;
/** Seldom: a probe that finds what a push has just brought changes nothing. Who was tampered with is probed at once. */
const probeEveryMs = 12 * 3_600_000;
/** So many waits without time passing are a loop that never ends. */
const spinning = 2000;

export class SimProcess {
  readonly workers = new Map<FarMirror, { readonly worker: MirrorWorker; readonly probe: ProbeService }>();
  readonly #deps: ProcessDeps;
  readonly #ending = new AbortController();
  readonly #running: Promise<void>[] = [];
  readonly #life = { isOver: false };

  constructor(deps: ProcessDeps) {
    this.#deps = deps;
    const { sabotage, connections, bytesPerSecond, mirrors } = deps;
    const clock = this.#clock('the limits');
    const slots = sabotage.slots?.(connections) ?? new Slots(connections, clock);
    const throttle = new Throttle(sabotage.bytesPerSecond?.(bytesPerSecond) ?? bytesPerSecond, clock);
    for (const mirror of mirrors) this.#start(mirror, slots, throttle);
  }

  /** A generation has come out. */
  wake(): void {
    for (const { worker } of this.workers.values()) worker.wake();
  }

  /** SIGTERM, and the end of the patience after it. */
  async stop(): Promise<void> {
    this.#ending.abort(new DOMException('the process ends', 'AbortError'));
    await Promise.all(this.#running);
    this.kill();
  }

  /** SIGKILL: whatever it waits for never comes. */
  kill(): void {
    this.#life.isOver = true;
    this.#deps.judge.processEnded();
    for (const mirror of this.#deps.mirrors) mirror.pushing = false;
  }

  #start(mirror: FarMirror, slots: Slots, shared: Throttle): void {
    const { primary, judge, dice, graceMs, lookMs, mirrors, sabotage } = this.#deps;
    const { name, takes, limit, quiet } = mirror.traits;
    const { store } = primary;
    const clock = this.#clock(name);
    store.mirrors.open(name, 'far', takes('main/aarch64') ? '' : 'x86_64');
    const random = sabotage.random?.(dice, () => this.workers.get(mirror)?.worker.state ?? initialState) ?? dice.next;
    const common = { store, clock, random, log: silentLog };
    const throttles = [new Throttle(limit, clock), shared];
    const far = farTransport(mirror, { primary, clock, dice, onCall: this.#calls(mirror), onSent: judge.sent });
    const transport = sabotage.transport?.(far, mirror) ?? far;
    const push = new MirrorPush(name, this.#asking(mirror, limitTransport(transport, slots, throttles)), {
      ...common,
      lease: primary.lease,
      files: primary,
      graceMs,
      takes,
      primary: primaryName,
      events: { bytes: () => {}, confirmed: () => {} },
    });
    const watched = this.#watched(mirror, push);
    const port = sabotage.retrying?.(watched) ?? retrying(name, watched, { ...common, onRetry: () => {} });
    const worker = new MirrorWorker(name, port, {
      ...common,
      states: storedStates(store, name, 'far'),
      quiet,
      lookMs,
      spreadMs: startSpreadMs * mirrors.length,
      events: { attempt: () => {}, failed: () => {} },
    });
    const probe = new ProbeService(name, 'far', {
      ...common,
      prober: proberOf(mirror, clock),
      metrics: { probed: () => {} } as unknown as Metrics,
      everyMs: () => probeEveryMs,
      takes,
      onDrift: () => worker.wake(),
    });
    this.workers.set(mirror, { worker, probe });
    for (const service of [worker, probe]) this.#running.push(this.#run(service));
  }

  async #run(service: { run(signal: AbortSignal): Promise<void> }): Promise<void> {
    try {
      await service.run(this.#ending.signal);
    } catch (error) {
      if (!this.#ending.signal.aborted) throw error;
    }
  }

  /** The clock as this process sees it: after its death no wait of it ends. */
  #clock(whose: string): Clock {
    const { clock, judge } = this.#deps;
    let [atMs, waits] = [-1, 0];
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      sleep: (ms, options) => {
        const nowMs = clock.monotonic();
        waits = nowMs === atMs ? waits + 1 : 0;
        atMs = nowMs;
        if (waits === spinning) judge.violate('no spinning', `${whose}: ${spinning} waits of no time`);
        return clock.sleep(waits < spinning ? ms : Math.max(ms, 60_000), { ...options, life: this.#life });
      },
    };
  }

  #calls(mirror: FarMirror): Parameters<typeof farTransport>[1]['onCall'] {
    const { judge } = this.#deps;
    return (inSlot) => {
      if (!inSlot) return { alive: () => {}, end: () => {} };
      judge.asksNoMore(mirror);
      return judge.callBegan();
    };
  }

  /** Tells the judge who wants a slot. */
  #asking(mirror: FarMirror, transport: Transport): Transport {
    const { judge } = this.#deps;
    const asking = async <T>(call: Promise<T>): Promise<T> => {
      try {
        return await call;
      } finally {
        if (!this.#life.isOver) judge.asksNoMore(mirror);
      }
    };
    const ask = <T>(begin: () => Promise<T>): Promise<T> => {
      judge.askedForSlot(mirror);
      return asking(begin());
    };
    const { read, readsBeside } = transport;
    return {
      ...transport,
      list: (directory, options) => ask(() => transport.list(directory, options)),
      put: (root, waves, options) => ask(() => transport.put(root, waves, options)),
      remove: (paths, options) => ask(() => transport.remove(paths, options)),
      ...(read && !readsBeside && { read: (path, most, options) => ask(() => read(path, most, options)) }),
    };
  }

  /** Tells the judge of each try. */
  #watched(mirror: FarMirror, push: MirrorPush): PushPort {
    const { judge } = this.#deps;
    return wrapPush(push, {
      push: async (signal) => {
        judge.tryBegan(mirror, 'push');
        mirror.pushing = true;
        try {
          const generation = await push.push(signal);
          judge.pushWentWell(mirror);
          return generation;
        } finally {
          mirror.pushing = false;
        }
      },
      check: async (signal) => {
        judge.tryBegan(mirror, 'check');
        await push.check(signal);
        judge.checkWentWell(mirror);
      },
    });
  }
}

/** What users of the mirror see. */
function proberOf(mirror: FarMirror, clock: Clock): Prober {
  const answerOf = (path: string): IndexProbe => {
    const [repository] = partsOf(path);
    const sha256 = mirror.indexOf(repository)?.index?.sha256;
    if (mirror.fault === 'down' || mirror.fault === 'dns' || mirror.fault === 'black hole')
      return { failed: 'no answer' };
    return sha256 === undefined ? { absent: true } : { sha256 };
  };
  const probe: Prober['probe'] = async ({ indexes }, options): Promise<ProbeResult> => {
    await clock.sleep(mirror.traits.rttMs, options);
    const answers = new Map(indexes.map((path) => [path, answerOf(path)]));
    const success = [...answers.values()].every((answer) => !('failed' in answer));
    return { indexes: answers, success, durationSeconds: 0, clockSkewSeconds: 0 };
  };
  return { probe } as Prober;
}
