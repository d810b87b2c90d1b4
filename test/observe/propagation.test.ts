import assert from 'node:assert/strict';
import test from 'node:test';
import { propagationView, type PublishedFacts } from '../../src/observe/propagation.ts';
import type { Reached } from '../../src/store/reached.ts';
import { nowMs } from './facts.ts';

function published(generation: number, changes: Partial<PublishedFacts> = {}): PublishedFacts {
  return {
    generation,
    builder: 'bpo',
    batch: `b${generation}`,
    publishedAtMs: nowMs,
    settleMs: 5000,
    publishMs: 250,
    added: 2,
    removed: 1,
    repositories: ['main/x86_64'],
    changedNames: 1,
    changes: [{ kind: 'upgraded', name: 'a', from: '1-r0', to: '2-r0' }],
    rollback: null,
    ...changes,
  };
}

function reached(mirror: string, generation: number, confirmed: number | null, observed: number | null): Reached {
  const at = (seconds: number | null): number | null => (seconds === null ? null : nowMs + seconds * 1000);
  return { mirror, generation, confirmedAtMs: at(confirmed), observedAtMs: at(observed) };
}

const all = (name: string): { name: string; takes: () => boolean } => ({ name, takes: () => true });

test('a generation is told with when it was uploaded, verified and published, and when each mirror had it', () => {
  const [view] = propagationView([published(12)], [all('paris'), all('rome')], [reached('paris', 12, 3, 63)]);
  assert.deepEqual(view, {
    generation: 12,
    builder: 'bpo',
    batch: 'b12',
    uploaded_at: '2026-11-22T18:09:55Z',
    verified_at: '2026-11-22T18:10:00Z',
    published_at: '2026-11-22T18:10:00Z',
    publish_seconds: 0.25,
    added: 2,
    removed: 1,
    repositories: ['main/x86_64'],
    changed_names: 1,
    changes: [{ kind: 'upgraded', name: 'a', from: '1-r0', to: '2-r0' }],
    rollback: null,
    mirrors: [
      { name: 'paris', takes: true, confirmed_at: '2026-11-22T18:10:03Z', observed_at: '2026-11-22T18:11:03Z' },
      { name: 'rome', takes: true, confirmed_at: null, observed_at: null },
    ],
  });
});

test('a mirror that skipped a generation had it when it reached a newer one', () => {
  const rows = [reached('paris', 13, 30, null), reached('paris', 14, 20, 90), reached('rome', 12, 1, 2)];
  const views = propagationView([published(14), published(13), published(12)], [all('paris'), all('rome')], rows);
  assert.deepEqual(
    views.map(({ mirrors }) => mirrors.map((m) => [m.confirmed_at?.slice(14, 19), m.observed_at?.slice(14, 19)])),
    [
      [
        ['10:20', '11:30'],
        [undefined, undefined],
      ],
      // Confirmed on 14 before 13: after a while on which the clock was set back.
      [
        ['10:20', '11:30'],
        [undefined, undefined],
      ],
      [
        ['10:20', '11:30'],
        ['10:01', '10:02'],
      ],
    ],
  );
});

test('a mirror of a part says whether a generation concerns it', () => {
  const arm = { name: 'arm', takes: (path: string) => path.endsWith('/aarch64') };
  const views = propagationView(
    [published(13), published(12, { repositories: ['main/aarch64', 'main/x86_64'] })],
    [arm],
    [],
  );
  assert.deepEqual(
    views.map(({ mirrors }) => mirrors[0]?.takes),
    [false, true],
  );
});

test('of a rollback nobody measured an upload', () => {
  const rollback = { to: 3, who: 'root', why: 'broken' };
  const [view] = propagationView([published(12, { settleMs: null, publishMs: null, builder: null, rollback })], [], []);
  assert.deepEqual(
    [view?.uploaded_at, view?.verified_at, view?.publish_seconds, view?.builder, view?.rollback],
    [null, null, null, '', rollback],
  );
});
