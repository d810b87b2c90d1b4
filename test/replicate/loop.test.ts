import assert from 'node:assert/strict';
import test from 'node:test';
import { parseQuiet, type QuietWindow } from '../../src/config/quiet.ts';
import { TransportError } from '../../src/errors.ts';
import { breakerFailures, recheckCapMs, waitCapMs } from '../../src/replicate/backoff.ts';
import { breakerOf } from '../../src/replicate/mirror.ts';
import type { PushPort } from '../../src/replicate/ports.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import { MirrorWorker } from '../../src/replicate/worker.ts';
import type { SavedState } from '../../src/store/mirror-states.ts';
import { silentLog } from '../../src/system/log.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const hour = 3_600_000;
const unused = (): never => {
  throw new Error('no errand in these tests');
};
const noTransport: Transport = { list: unused, put: unused, remove: unused, close: unused };

/** A mirror that only counts: a push takes `takesMs`, and fails as it is told. */
class FakePush implements PushPort {
  readonly transport = noTransport;
  readonly tries: string[] = [];
  readonly at: number[] = [];
  readonly #clock: VirtualClock;
  due = true;
  takesMs = 100;
  fault: TransportError | null = null;
  checkFault: TransportError | null = null;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  isDue(): boolean {
    return this.due;
  }

  async push(signal: AbortSignal): Promise<number> {
    // A push after a check belongs to the same try.
    if (this.tries.at(-1) !== 'check' || this.at.at(-1) !== this.#clock.monotonic())
      this.at.push(this.#clock.monotonic());
    this.tries.push('push');
    await this.#clock.sleep(this.takesMs, { signal });
    if (this.fault) throw this.fault;
    this.due = false;
    return 1;
  }

  check(): Promise<void> {
    this.at.push(this.#clock.monotonic());
    this.tries.push('check');
    return this.checkFault ? Promise.reject(this.checkFault) : Promise.resolve();
  }

  forced = false;

  force(wanted: boolean): void {
    this.forced = wanted;
  }

  requireOurs(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Started {
  readonly worker: MirrorWorker;
  readonly push: FakePush;
  readonly memory: { saved: SavedState | null; changed: boolean };
  readonly stop: () => Promise<void>;
}

function start(
  clock: VirtualClock,
  options: {
    readonly quiet?: readonly QuietWindow[];
    readonly spreadMs?: number;
    readonly memory?: Started['memory'];
    readonly random?: () => number;
    readonly takesMs?: number;
  } = {},
): Started {
  const { quiet = [], spreadMs = 0, memory = { saved: null, changed: false }, random = () => 0.5 } = options;
  const push = new FakePush(clock);
  push.takesMs = options.takesMs ?? 100;
  const worker = new MirrorWorker('m', push, {
    clock,
    random,
    log: silentLog,
    quiet,
    lookMs: 600_000,
    spreadMs,
    states: { load: () => memory, save: (saved) => (memory.saved = saved) },
    events: { attempt: () => {}, failed: () => {} },
  });
  const ending = new AbortController();
  const running = worker.run(ending.signal).catch((error: unknown) => {
    if (!ending.signal.aborted) throw error;
  });
  return {
    worker,
    push,
    memory,
    stop: async () => {
      ending.abort();
      await clock.advance(0);
      await running;
    },
  };
}

const down = new TransportError('refused', 'retryable', 'nobody listens');
const wrongKey = new TransportError('auth', 'permanent', 'add the key');

test('a mirror that is down is pushed to five times, then only asked for a sign of life, and is in sync soon after it is back', async () => {
  const clock = new VirtualClock();
  const { worker, push, memory, stop } = start(clock);
  [push.fault, push.checkFault] = [down, down];
  await clock.advance(24 * hour);
  assert.deepEqual(push.tries.slice(0, 6), ['push', 'push', 'push', 'push', 'push', 'check']);
  assert.equal(push.tries.filter((one) => one === 'push').length, breakerFailures);
  assert.equal(breakerOf(worker.state), 'open');
  assert.ok(push.tries.length < 24 * 12, `${push.tries.length} tries in a day`);
  assert.equal(memory.saved?.lastFailure?.reason, 'refused');
  [push.fault, push.checkFault] = [null, null];
  await clock.advance(waitCapMs + 1000);
  assert.equal(worker.state.phase, 'in-sync');
  assert.equal(memory.saved, null);
  await stop();
});

test('a mirror that refuses the key is looked at every six hours, and pushed to once it lets us in', async () => {
  const clock = new VirtualClock();
  const { worker, push, stop } = start(clock);
  [push.fault, push.checkFault] = [wrongKey, wrongKey];
  await clock.advance(24 * hour);
  assert.deepEqual(push.tries, ['push', 'check', 'check', 'check', 'check']);
  [push.fault, push.checkFault] = [null, null];
  await clock.advance(recheckCapMs);
  assert.equal(worker.state.phase, 'in-sync');
  await stop();
});

test('what a mirror failed of outlives a restart, a wall clock that was set included; a new configuration starts anew', async () => {
  const clock = new VirtualClock();
  const first = start(clock);
  first.push.fault = wrongKey;
  await clock.advance(1000);
  await first.stop();
  clock.setWall(-30 * 24 * hour);
  const second = start(clock, { memory: { ...first.memory } });
  await clock.advance(5 * hour);
  assert.deepEqual([second.push.tries, second.worker.state.phase], [[], 'blocked']);
  await clock.advance(hour);
  assert.deepEqual(second.push.tries, ['check', 'push']);
  await second.stop();
  const third = start(clock, { memory: { saved: first.memory.saved, changed: true } });
  await clock.advance(1000);
  assert.deepEqual(third.push.tries, ['push']);
  await third.stop();
});

test('a block by hand ends the push in hand and outlives a restart', async () => {
  const clock = new VirtualClock();
  const first = start(clock, { takesMs: hour });
  await clock.advance(1000);
  first.worker.block('disks');
  await clock.advance(0);
  assert.equal(first.worker.state.phase, 'blocked');
  await clock.advance(2 * hour);
  assert.ok(first.push.due, 'the push did not end by itself');
  await first.stop();
  const second = start(clock, { memory: first.memory });
  second.worker.pushNow();
  await clock.advance(48 * hour);
  assert.deepEqual(second.push.tries, []);
  second.worker.unblock();
  await clock.advance(1000);
  assert.deepEqual(second.push.tries, ['push']);
  assert.equal(second.memory.saved, null);
  await second.stop();
});

test('a block that waits for a person outlives a push by hand that the end of the daemon cuts off', async () => {
  const clock = new VirtualClock();
  const first = start(clock);
  first.push.fault = new TransportError('host_key', 'security', 'another key');
  await clock.advance(1000);
  assert.equal(first.memory.saved?.blockedBy, 'security');
  first.push.takesMs = 60_000;
  first.worker.pushNow({ force: true });
  await clock.advance(5000);
  assert.deepEqual([first.worker.state.phase, first.push.forced], ['pushing', true]);
  await first.stop();
  const second = start(clock, { memory: first.memory });
  await clock.advance(1000);
  assert.deepEqual([second.worker.state.phase, second.push.tries], ['blocked', []]);
  // Nor is it lost in the moment before the next push by hand may begin.
  second.push.fault = first.push.fault;
  second.worker.pushNow();
  await clock.advance(200);
  second.worker.pushNow();
  await clock.advance(1);
  assert.equal(second.worker.state.phase, 'waiting');
  await second.stop();
  assert.equal(second.memory.saved?.blockedBy, 'security');
});

test('what was forced is not forced any more once the mirror is blocked by hand', async () => {
  const clock = new VirtualClock();
  const { worker, push, stop } = start(clock, { takesMs: 60_000 });
  worker.pushNow({ force: true });
  await clock.advance(5000);
  worker.block('not that one');
  await clock.advance(1000);
  worker.unblock();
  await clock.advance(5000);
  assert.deepEqual([worker.state.phase, push.forced], ['pushing', false]);
  await stop();
});

test('nothing is pushed in a quiet window, a long push stops at its beginning, and a push by hand goes anyway', async () => {
  const parsed = parseQuiet('07:00-23:00');
  assert.ok('value' in parsed);
  const clock = new VirtualClock(Date.UTC(2026, 10, 23, 6, 59));
  const { worker, push, stop } = start(clock, { quiet: [parsed.value], takesMs: hour });
  await clock.advance(61_000);
  assert.deepEqual([worker.state.phase, push.tries], ['waiting', ['push']]);
  assert.equal(worker.nextAttemptAtMs, Date.UTC(2026, 10, 23, 23));
  await clock.advance(15 * hour);
  assert.equal(push.tries.length, 1);
  await clock.advance(hour + 60_000);
  assert.equal(push.tries.length, 2, 'the window is over');
  await clock.advance(hour);
  assert.equal(worker.state.phase, 'in-sync');
  await clock.advance(10 * hour);
  push.due = true;
  worker.pushNow();
  await clock.advance(hour + 1000);
  assert.deepEqual([push.tries.length, worker.state.phase], [3, 'in-sync']);
  await stop();
});

test('however often it is woken and asked, no two tries within a second', async () => {
  const clock = new VirtualClock();
  const { worker, push, stop } = start(clock);
  push.takesMs = 1;
  for (let i = 0; i < 200; i++) {
    push.due = true;
    push.fault = i % 3 === 0 ? down : null;
    if (i % 2 === 0) worker.wake();
    else worker.pushNow();
    await clock.advance(77);
  }
  assert.ok(push.at.length > 5);
  for (const [i, at] of push.at.entries()) assert.ok(at - (push.at[i - 1] ?? -1000) >= 1000, push.at.join(' '));
  await stop();
});

test('after a restart five hundred mirrors come one by one', async () => {
  const clock = new VirtualClock();
  let seed = 1;
  const random = (): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const fleet = Array.from({ length: 500 }, () => start(clock, { spreadMs: 10_000, random }));
  await clock.advance(500);
  const early = fleet.filter(({ push }) => push.tries.length > 0).length;
  assert.ok(early > 0 && early < 60, `${early} in the first half second`);
  await clock.advance(10_000);
  assert.ok(fleet.every(({ worker }) => worker.state.phase === 'in-sync'));
  for (const { stop } of fleet) await stop();
});

test('a state that cannot be written down does not end the worker', async () => {
  const clock = new VirtualClock();
  const push = new FakePush(clock);
  push.fault = down;
  const complaints: string[] = [];
  const worker = new MirrorWorker('m', push, {
    clock,
    random: () => 0.5,
    log: { ...silentLog, error: (event) => complaints.push(event) },
    quiet: [],
    lookMs: 600_000,
    spreadMs: 0,
    states: {
      load: () => ({ saved: null, changed: false }),
      save: () => {
        throw new Error('disk full');
      },
    },
    events: { attempt: () => {}, failed: () => {} },
  });
  const running = worker.run(new AbortController().signal);
  await clock.advance(1000);
  assert.deepEqual([...new Set(complaints)], ['mirror_state_not_saved']);
  assert.throws(() => worker.block('x'), /disk full/);
  worker.drain();
  await clock.advance(0);
  await running;
});

test('a block by hand ends the errand in hand, and the next one waits until it is lifted', async () => {
  const clock = new VirtualClock();
  const { worker, stop } = start(clock);
  await clock.advance(1000);
  const long = worker.errand((_transport, signal) => clock.sleep(hour, { signal }));
  const ended = assert.rejects(long, { name: 'AbortError' });
  await clock.advance(1000);
  worker.block('disk is changed');
  await clock.advance(1000);
  await ended;
  let done = 0;
  worker.errand(() => Promise.resolve(done++)).catch(() => {});
  await clock.advance(1000);
  assert.equal(done, 0);
  worker.unblock();
  await clock.advance(1000);
  assert.equal(done, 1);
  await stop();
});

test('the end of the daemon ends the errand in hand', async () => {
  const clock = new VirtualClock();
  const { worker, stop } = start(clock);
  await clock.advance(1000);
  const ended = assert.rejects(
    worker.errand((_transport, signal) => clock.sleep(hour, { signal })),
    { name: 'AbortError' },
  );
  await clock.advance(1000);
  await stop();
  await ended;
  assert.equal(clock.monotonic(), 2000);
});

test('no errand in a quiet window', async () => {
  const clock = new VirtualClock(Date.UTC(2026, 10, 23, 5, 59));
  const window = parseQuiet('06:00-07:00');
  assert.ok('value' in window);
  const { worker, stop } = start(clock, { quiet: [window.value] });
  await clock.advance(2 * 60_000);
  let done = 0;
  worker.errand(() => Promise.resolve(done++)).catch(() => {});
  await clock.advance(30 * 60_000);
  assert.equal(done, 0);
  await clock.advance(40 * 60_000);
  assert.equal(done, 1);
  await stop();
});
