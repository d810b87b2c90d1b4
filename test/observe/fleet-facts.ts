/** Builds a primary with many mirrors for the tests of the pages: most in step, some of every kind of trouble, a week of lag, ten generations. */
import type { LagSeries } from '../../src/observe/lag-history.ts';
import type { Propagation, RecentHistory } from '../../src/observe/propagation.ts';
import { type MirrorFacts, type Status, statusView } from '../../src/observe/status.ts';
import { batchFacts, mirrorFacts, repositoryFacts, statusFacts } from './facts.ts';

export interface FleetFacts {
  readonly status: Status;
  readonly history: RecentHistory;
  readonly nowMs: number;
}

const towns = 'paris tokyo oslo lima quito porto turku gent bern graz kyiv pune cork riga bonn nice york bari'.split(
  ' ',
);
const repositories = [
  'main/x86_64',
  'main/aarch64',
  'main/armv7',
  'v25.12/x86_64',
  'v25.12/aarch64',
  'extra-repos/systemd/edge/x86_64',
];
const newest = 4812;
const iso = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** Numbers that look like chance and are the same each time. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** `noisy`: every value of every line differs from the one before, the heaviest there can be. */
export function fleetFacts(count: number, nowMs: number, { noisy = false } = {}): FleetFacts {
  const next = chance(count);
  const names = Array.from({ length: count }, (_, i) =>
    i < towns.length ? (towns[i] ?? '') : `${towns[i % towns.length]}-${Math.floor(i / towns.length) + 1}`,
  );
  const status = statusView(
    statusFacts({
      generation: newest,
      publishedAtMs: nowMs - 240_000,
      repositories: repositories.map((path, i) =>
        repositoryFacts({ path, generation: newest - i, packages: 9000 + i * 317 }),
      ),
      mirrors: names.map((name, i) => mirrorOf(name, i, nowMs, next)),
      batches: [
        batchFacts({
          id: '20261122T175500Z-7f3a',
          state: 'held',
          generation: null,
          reasons: [
            {
              code: 'MASS_REMOVAL',
              path: 'main/armv7/APKINDEX.tar.gz',
              detail: '3120 of 9634 packages would go, more than 30 %',
            },
          ],
        }),
        batchFacts({
          id: '20261122T180900Z-91c2',
          state: 'waiting',
          generation: null,
          updatedAtMs: nowMs - 20_000,
          reasons: [{ code: 'INCOMPLETE', path: 'main/x86_64/linux-lts-6.12.9-r0.apk', detail: 'missing' }],
        }),
        batchFacts({
          id: '20261122T120000Z-0a11',
          state: 'rejected',
          generation: null,
          updatedAtMs: nowMs - 22_000_000,
          reasons: [
            {
              code: 'SIG_UNTRUSTED',
              path: 'v25.12/x86_64/APKINDEX.tar.gz',
              detail: 'signed by other.rsa.pub, which is not among the keys of this inbox',
            },
          ],
        }),
      ],
    }),
    nowMs,
  );
  const lag = names.map((mirror, i) => lagOf(mirror, i, noisy, next));
  return {
    status,
    history: {
      version: 1,
      lag,
      propagation: Array.from({ length: 10 }, (_, i) => propagationOf(newest - i, names, nowMs, next)),
    },
    nowMs,
  };
}

function mirrorOf(name: string, i: number, nowMs: number, next: () => number): MirrorFacts {
  const common = {
    name,
    url: i === 5 ? null : `https://${name}.mirror.example.org/postmarketos/`,
    generation: newest,
    observedGeneration: newest,
    observedAtMs: nowMs - Math.floor(next() * 60_000),
    lastSuccessAtMs: nowMs - 240_000 + Math.floor(next() * 30_000),
    transport: ['rsync', 'sftp', 'rsync', 'pull', 'trigger'][i % 5] ?? 'rsync',
  };
  if (i === 1)
    return mirrorFacts({
      ...common,
      state: 'waiting',
      generation: newest - 2,
      pushedMissingSinceMs: nowMs - 3_700_000,
      observedGeneration: newest - 2,
      observedMissingSinceMs: nowMs - 3_700_000,
      lastSuccessAtMs: nowMs - 5_000_000,
      nextAttemptAtMs: nowMs + 140_000,
      waitsFor: 'back-off',
      lastError: {
        reason: 'unreachable',
        message: 'ssh: connect to host tokyo.mirror.example.org port 22: no route to host',
      },
    });
  if (i === 2)
    return mirrorFacts({
      ...common,
      state: 'blocked',
      generation: newest - 40,
      pushedMissingSinceMs: nowMs - 190_000_000,
      observedGeneration: newest - 40,
      observedMissingSinceMs: nowMs - 190_000_000,
      lastSuccessAtMs: nowMs - 190_200_000,
      blockedBy: 'security',
      lastError: {
        reason: 'host_key',
        message: 'the host key is SHA256:9CQ…, expected SHA256:AAA…: ask its owner whether it was changed',
      },
    });
  if (i === 4)
    return mirrorFacts({
      ...common,
      state: 'pushing',
      generation: newest - 1,
      pushedMissingSinceMs: nowMs - 240_000,
      observedGeneration: newest - 1,
      observedMissingSinceMs: nowMs - 240_000,
    });
  if (i === 9) return mirrorFacts({ ...common, observedUnknownContent: true });
  if (i === 12)
    return mirrorFacts({
      ...common,
      state: 'unknown',
      generation: null,
      observedGeneration: null,
      observedAtMs: null,
      lastSuccessAtMs: null,
    });
  if (i === 14) return mirrorFacts({ ...common, clockSkewSeconds: -7200 });
  return mirrorFacts(common);
}

function lagOf(mirror: string, i: number, noisy: boolean, next: () => number): LagSeries {
  const trouble = i % 7 === 1 ? 5 : i % 3;
  const value = (): number =>
    noisy
      ? Math.floor(next() ** 4 * 90_000)
      : next() < 0.02 * trouble
        ? Math.floor(next() * 9000)
        : next() < 0.3
          ? Math.floor(next() * 50)
          : 0;
  const line = (length: number): (number | null)[] =>
    Array.from({ length }, (_, at) => (!noisy && at < length / 6 && i % 4 === 0 ? null : value()));
  return { mirror, day: line(96), week: line(84) };
}

function propagationOf(generation: number, names: readonly string[], nowMs: number, next: () => number): Propagation {
  const age = newest - generation;
  const published = nowMs - 240_000 - age * 5_400_000;
  const at = (seconds: number): string => iso(published + seconds * 1000);
  return {
    generation,
    builder: 'build.postmarketos.org',
    batch: `${iso(published).replaceAll(/[-:]/g, '')}-${generation.toString(16)}`,
    uploaded_at: at(-9),
    verified_at: at(-1),
    published_at: at(0),
    publish_seconds: 0.031,
    added: 3 + (age % 4) * 6,
    removed: age % 3,
    repositories: repositories.slice(0, 1 + (age % 5)),
    changed_names: 25 + (age % 4) * 6,
    changes: [
      { kind: 'upgraded', name: 'linux-postmarketos-qcom-sdm845', from: '6.12.8-r0', to: '6.12.9-r0' },
      { kind: 'added', name: 'plasma-mobile', from: null, to: '6.5.3-r1' },
      { kind: 'removed', name: 'old-firmware', from: '20200101-r0', to: null },
      ...Array.from({ length: 17 }, (_, i) => ({
        kind: 'upgraded' as const,
        name: `kde-application-${i}`,
        from: '25.12.0-r0',
        to: '25.12.1-r0',
      })),
    ],
    rollback: age === 6 ? { to: 4800, who: 'martijn', why: 'the kernel does not boot' } : null,
    mirrors: names.map((name, i) => {
      const seconds = Math.floor(2 + next() * 12 + (i % 17 === 1 ? 200 * next() : 0));
      const isMissing = i === 2 || (i === 1 && age < 2) || (i === 4 && age === 0);
      return {
        name,
        takes: true,
        confirmed_at: isMissing || i % 5 === 3 ? null : at(seconds),
        observed_at: isMissing ? null : at(seconds + 20 + Math.floor(next() * 40)),
      };
    }),
  };
}

/** A history in which every text is `text`. */
export function hostileHistory(text: string, nowMs: number): RecentHistory {
  const { history } = fleetFacts(3, nowMs);
  return {
    ...history,
    lag: history.lag.map((series) => ({ ...series, mirror: text })),
    propagation: history.propagation.map((generation) => ({
      ...generation,
      builder: text,
      batch: text,
      repositories: [text],
      changes: generation.changes.map((change) => ({ ...change, name: text, from: text, to: text })),
      rollback: { to: 1, who: text, why: text },
      mirrors: generation.mirrors.map((mirror) => ({ ...mirror, name: text })),
    })),
  };
}
