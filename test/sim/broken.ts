/** Daemons that do one thing wrong: each must be found out, by the invariant that is about it. */
import { traceFile } from '../../src/publish/plan.ts';
import { waitCapMs } from '../../src/replicate/backoff.ts';
import type { MirrorState } from '../../src/replicate/mirror.ts';
import type { PushPort } from '../../src/replicate/ports.ts';
import type { Slots } from '../../src/replicate/slots.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import { abortable } from '../../src/system/abortable.ts';
import type { Dice } from './dice.ts';
import { type FarMirror, isIndex, isTrace, partsOf } from './far-mirror.ts';
import type { Invariant } from './judge.ts';

/** Takes the place of a part of the process. */
export interface Sabotage {
  readonly transport?: (transport: Transport, mirror: FarMirror) => Transport;
  readonly retrying?: (push: PushPort) => PushPort;
  readonly random?: (dice: Dice, state: () => MirrorState) => () => number;
  readonly slots?: (limit: number) => Slots;
  readonly bytesPerSecond?: (limit: number) => number;
}

/** A limit without what makes Slots fair; `leaks`: a call that fails keeps its slot. */
function plainSlots(limit: number, leaks: boolean): Slots {
  let free = limit;
  const queue: (() => void)[] = [];
  const release = (): void => {
    const next = queue.shift();
    if (next) next();
    else free++;
  };
  const run = async <T>(signal: AbortSignal, work: (alive: () => void) => Promise<T>): Promise<T> => {
    if (free > 0) free--;
    else await abortable(new Promise<void>((resolve) => queue.push(resolve)), signal);
    try {
      const result = await work(() => {});
      release();
      return result;
    } catch (error) {
      if (!leaks) release();
      throw error;
    }
  };
  return { run, setLimit: () => {} } as unknown as Slots;
}

/** Kept for as long as the process lasts, as a leak is. */
const hoarded: unknown[] = [];

interface Broken {
  readonly sabotage: Sabotage;
  readonly by: Invariant;
  /** How long it is played; 6 by default. */
  readonly days?: number;
}

export const broken: Readonly<Record<string, Broken>> = {
  'indexes first': {
    by: 'index after packages',
    sabotage: {
      transport: (transport) => ({
        ...transport,
        put: (root, waves, options) => {
          const flat = waves.flat();
          const first = flat.filter(({ path }) => isIndex(path));
          return transport.put(root, [first, flat.filter((file) => !first.includes(file))], options);
        },
      }),
    },
  },
  'prune before the indexes': {
    by: 'index after packages',
    sabotage: {
      transport: (transport, mirror) => ({
        ...transport,
        put: async (root, waves, options) => {
          // What the new indexes replace is taken for gone already.
          const [path] = waves.flat().flatMap((file) => (isIndex(file.path) ? [file.path] : []));
          const named = path === undefined ? undefined : mirror.get(path)?.index?.packages.keys().next().value;
          if (path !== undefined && named !== undefined)
            await transport.remove([`${partsOf(path)[0]}/${named}`], options);
          await transport.put(root, waves, options);
        },
      }),
    },
  },
  'a put that comes late': {
    by: 'never older',
    sabotage: {
      transport: (transport, mirror) => ({
        ...transport,
        put: async (root, waves, options) => {
          const before = mirror.get(traceFile);
          await transport.put(root, waves, options);
          if (before && waves.flat().some(({ path }) => isTrace(path))) mirror.rename(traceFile, before);
        },
      }),
    },
  },
  'jitter without a cap': {
    by: 'converges',
    sabotage: { random: (dice) => () => dice.next() * 12 },
  },
  'back-off without a cap': {
    by: 'converges',
    sabotage: {
      random: (dice, state) => () => {
        const steps = 2 ** Math.max(0, state().failures - Math.log2(waitCapMs / 5000));
        return dice.next() * steps;
      },
    },
  },
  'a retry storm': {
    by: 'one try a second',
    sabotage: {
      retrying: (push) => ({
        ...push,
        push: async (signal) => {
          for (let tries = 5; ; tries--) {
            try {
              return await push.push(signal);
            } catch (error) {
              if (tries === 0 || signal.aborted) throw error;
            }
          }
        },
      }),
    },
  },
  'a limiter that leaks slots': { by: 'no starvation', sabotage: { slots: (limit) => plainSlots(limit, true) } },
  'a limiter that lets more in': { by: 'connections', sabotage: { slots: (limit) => plainSlots(limit + 1, false) } },
  'a throttle that is too wide': { by: 'bandwidth', sabotage: { bytesPerSecond: (limit) => limit * 1.5 } },
  'a worker that keeps something of each put': {
    by: 'memory',
    days: 3,
    sabotage: {
      transport: (transport) => ({
        ...transport,
        put: (root, waves, options) => {
          hoarded.push(Array.from({ length: 2000 }, (_, n) => n + 0.5));
          return transport.put(root, waves, options);
        },
      }),
    },
  },
};
