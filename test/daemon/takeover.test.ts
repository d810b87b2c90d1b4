import assert from 'node:assert/strict';
import test from 'node:test';
import { Takeover, type TakeoverDeps } from '../../src/daemon/takeover.ts';
import { silentLog } from '../../src/system/log.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const afterMs = 600_000;
const { signal } = new AbortController();

/** A mirror that serves generation 1 while 2 is out, and whether it is ours by now. */
function standby(clock: VirtualClock): { readonly takeover: Takeover; readonly isTaken: () => boolean } {
  const row = { takenOverAtMs: null as number | null, unknownContent: false, ahead: false, observed: 1 };
  const publishedAtMs = clock.now();
  const takeover = new Takeover('oslo', {
    store: {
      mirrors: {
        get: () => row,
        takenOver: (_: string, atMs: number | null) => Object.assign(row, { takenOverAtMs: atMs }),
        doubt: () => {},
      },
    },
    clock,
    log: silentLog,
    afterMs,
    primary: 'two',
    read: async () => null,
    missingSinceMs: () => publishedAtMs,
    onTakeover: () => {},
  } as unknown as TakeoverDeps);
  return { takeover, isTaken: () => row.takenOverAtMs !== null };
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
