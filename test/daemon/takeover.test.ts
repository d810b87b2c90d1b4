import assert from 'node:assert/strict';
import test from 'node:test';
import { Takeover, type TakeoverDeps } from '../../src/daemon/takeover.ts';
import { toInstant } from '../../src/system/instant.ts';
import { silentLog } from '../../src/system/log.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const afterMs = 600_000;
const { signal } = new AbortController();

interface Lagging {
  readonly takeover: Takeover;
  readonly isTaken: () => boolean;
  readonly serve: (trace: object) => void;
  readonly told: string[];
}

/** A mirror that serves generation 1 while 2 is out, and whether it is ours by now. */
function standby(clock: VirtualClock): Lagging {
  const row = { takenOverAtMs: null as number | null, unknownContent: false, ahead: false, observed: 1 };
  const publishedAtMs = clock.now();
  const told: string[] = [];
  let trace: object | null = null;
  const takeover = new Takeover('oslo', {
    store: {
      mirrors: {
        get: () => row,
        takenOver: (_: string, atMs: number | null) => Object.assign(row, { takenOverAtMs: atMs }),
        doubt: () => {},
      },
      generations: { publishedAtExactly: (number: number) => (number <= 2 ? publishedAtMs : null) },
    },
    clock,
    log: { ...silentLog, error: (event: string) => void told.push(event) },
    afterMs,
    primary: 'two',
    read: async () => trace && Buffer.from(JSON.stringify(trace)),
    missingSinceMs: () => (trace ? null : publishedAtMs),
    onTakeover: () => {},
  } as unknown as TakeoverDeps);
  const serve = (served: object): void => {
    trace = served;
  };
  return { takeover, isTaken: () => row.takenOverAtMs !== null, serve, told };
}

for (const [how, byMs] of [
  ['back', -86_400_000],
  ['ahead', 86_400_000],
] as const) {
  test(`a wall clock that is set ${how} while a mirror lags makes a takeover neither earlier nor later`, async () => {
    const clock = new VirtualClock();
    const { takeover, isTaken } = standby(clock);
    await takeover.look(signal);
    await clock.advance(60_000);
    clock.setWall(byMs);
    await clock.advance(530_000);
    await takeover.look(signal);
    assert.equal(isTaken(), false);
    await clock.advance(20_000);
    await takeover.look(signal);
    assert.equal(isTaken(), true);
  });
}

test('a first primary of our own name is seen to work again, and the operator is told of the name', async () => {
  const clock = new VirtualClock();
  const { takeover, isTaken, serve, told } = standby(clock);
  await takeover.look(signal);
  const trace = { generation: 2, primary: 'two', published_at: toInstant(clock.now()), repositories: [] };
  await clock.advance(afterMs + 1);
  await takeover.look(signal);
  assert.equal(isTaken(), true);
  serve(trace);
  await takeover.look(signal);
  assert.deepEqual([isTaken(), told], [true, []], 'what we brought');
  serve({ ...trace, published_at: toInstant(clock.now()) });
  await takeover.look(signal);
  assert.deepEqual([isTaken(), told], [false, ['primary_name_taken']]);
});
