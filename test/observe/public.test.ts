import assert from 'node:assert/strict';
import test from 'node:test';
import { alpineMirrors, archStatus } from '../../src/observe/mirror-lists.ts';
import { publicPage, renderDocument } from '../../src/observe/page.ts';
import { publicStatus, type PublicStatus } from '../../src/observe/public-status.ts';
import { type MirrorFacts, statusView } from '../../src/observe/status.ts';
import { batchFacts, mirrorFacts, nowMs, repositoryFacts, scrubStatus, statusFacts } from './facts.ts';
import { fleetFacts, hostileHistory } from './fleet-facts.ts';

const secret = 'TOPSECRET';
const noHistory = { propagation: [] };
const publicOf = (...mirrors: MirrorFacts[]): PublicStatus =>
  publicStatus(statusView(statusFacts({ mirrors }), nowMs), noHistory, nowMs);

test('what is public holds no path, reason, error, batch, builder, key or credential', () => {
  const status = statusView(
    statusFacts({
      repositories: [repositoryFacts({ path: secret, signedBy: secret, builder: secret, keyState: 'removed' })],
      mirrors: [
        mirrorFacts({
          url: `https://user:${secret}@mirror.example.org/pub/?token=${secret}#${secret}`,
          transport: secret,
          lastError: { reason: 'dns', message: secret },
        }),
        mirrorFacts({ name: `${secret}-disk`, url: null }),
        mirrorFacts({ name: `${secret}-file`, url: `file:///${secret}` }),
        mirrorFacts({
          name: 'lima',
          blockedBy: 'operator',
          state: 'blocked',
          blockNote: secret,
          observedUnknownContent: true,
        }),
      ],
      batches: [
        batchFacts({
          id: secret,
          builder: secret,
          state: 'held',
          reasons: [{ code: 'NAME', path: secret, detail: secret }],
        }),
      ],
      keyProblems: [{ builder: secret, path: secret, detail: secret }],
      stateProblem: secret,
      config: {
        file: '/etc/x.yaml',
        loadedAtMs: nowMs - 3_600_000,
        failedAtMs: nowMs - 60_000,
        problems: [secret],
        needsRestart: ['listen'],
      },
      hooks: [
        {
          name: 'mail',
          on: ['held'],
          running: false,
          pending: 2,
          dropped: 0,
          last: { outcome: 'failed', endedAtMs: nowMs, detail: secret },
        },
      ],
      scrub: { ...scrubStatus, damaged: [{ path: secret, found_at: '2026-11-22T04:30:00Z', detail: secret }] },
      switching: { generation: 12, waits: true, has: 1, of: 2, stragglers: [secret], untilMs: nowMs },
    }),
    nowMs,
  );
  const history = hostileHistory(secret, nowMs);
  const seen = publicStatus(status, history, nowMs);
  const page = renderDocument(publicPage({ status, history, nowMs }), { version: 'v', nowMs, links: [] });
  for (const text of [
    JSON.stringify(seen),
    JSON.stringify(archStatus(seen, 60)),
    JSON.stringify(alpineMirrors(seen)),
    page,
  ])
    assert.ok(!text.includes(secret), text);
  assert.match(page, /href="https:\/\/mirror\.example\.org\/pub\/"/);
  assert.doesNotMatch(page, /blocked|unknown content|held|MASS|lockstepd /);
});

test('generations count the mirrors that are public', () => {
  const { status, history } = fleetFacts(30, nowMs);
  const { mirrors, generations } = publicStatus(status, history, nowMs);
  assert.deepEqual([mirrors.length, generations.map((one) => one.mirrors)], [29, Array.from({ length: 10 }, () => 29)]);
  assert.deepEqual([generations[0]?.reached, generations[2]?.reached], [26, 28]);
});

test('a mirror is judged by what its users get, and by what was pushed where nobody looks', () => {
  const old = {
    generation: 10,
    pushedMissingSinceMs: nowMs - 100_000,
    observedGeneration: 9,
    observedMissingSinceMs: nowMs - 200_000,
  };
  const { mirrors, in_step: inStep } = publicOf(
    mirrorFacts(),
    mirrorFacts({ name: 'late', ...old }),
    mirrorFacts({ name: 'unseen', ...old, observedAtMs: null }),
    mirrorFacts({ name: 'shown-late', observedGeneration: 11, observedMissingSinceMs: nowMs - 50_000 }),
    mirrorFacts({ name: 'shown', generation: 11, pushedMissingSinceMs: nowMs - 50_000 }),
    mirrorFacts({ name: 'foreign', observedUnknownContent: true }),
    mirrorFacts({ name: 'new', generation: null, observedGeneration: null, observedAtMs: null }),
  );
  assert.deepEqual(
    mirrors.map(({ name, state, generation, lag_seconds: lag }) => [name, state, generation, lag]),
    [
      ['paris', 'in-step', 12, 0],
      ['late', 'behind', 9, 200],
      ['unseen', 'behind', 10, 100],
      ['shown-late', 'behind', 11, 50],
      ['shown', 'in-step', 12, 0],
      ['foreign', 'unknown', null, null],
      ['new', 'unknown', null, null],
    ],
  );
  assert.equal(inStep, 2);
});

test("Arch's layout: how old what a mirror serves is, of the last check; nothing that nobody measures", () => {
  const status = archStatus(
    publicOf(
      mirrorFacts({
        name: 'late',
        observedGeneration: 9,
        observedMissingSinceMs: nowMs - 200_000,
        observedAtMs: nowMs - 20_000,
      }),
      mirrorFacts({ name: 'away', url: 'http://away.example.org/', observedAtMs: nowMs - 3_600_000 }),
      mirrorFacts({ name: 'gone', observedAtMs: nowMs - 100_000_000 }),
      mirrorFacts({ name: 'new', generation: null, observedGeneration: null, observedAtMs: null }),
    ),
    60,
  );
  const { urls, ...head } = status;
  assert.deepEqual(head, {
    cutoff: 86_400,
    last_check: '2026-11-22T18:09:40Z',
    num_checks: 1,
    check_frequency: 60,
    version: 3,
  });
  assert.deepEqual(urls[0], {
    url: 'https://mirror.example.org/pub/',
    protocol: 'https',
    last_sync: '2026-11-22T18:06:20Z',
    completion_pct: 1,
    delay: 200,
    duration_avg: null,
    duration_stddev: null,
    score: null,
    active: true,
    country: '',
    country_code: '',
    isos: false,
    ipv4: null,
    ipv6: null,
    details: null,
  });
  assert.deepEqual(
    urls.map(({ protocol, last_sync: sync, completion_pct: done, delay }) => [protocol, sync, done, delay]),
    [
      ['https', '2026-11-22T18:06:20Z', 1, 200],
      ['http', '2026-11-22T17:10:00Z', 0, 0],
      ['https', null, 0, null],
      ['https', null, 0, null],
    ],
  );
});

test('a mirror with an address in a private network is not public; names only look like one', () => {
  const names = (...hosts: string[]) =>
    publicOf(...hosts.map((host) => mirrorFacts({ name: host, url: `http://${host}/pub/` }))).mirrors.map(
      ({ name }) => name,
    );
  const inside =
    'localhost store store:8080 store. mirror.lan mirror.corp.internal STORE.Local a.home.arpa 127.0.0.1 10.1.2.3 172.16.0.1 172.31.9.9 192.168.1.1 169.254.1.1 100.64.0.1 2130706433 [::1] [fd00::1] [fe80::1] [::ffff:10.0.0.1]';
  assert.deepEqual(names(...inside.split(' ')), []);
  const outside =
    'mirror.example.org internal.example.org plan.example 10.example.org 172.32.0.1 8.8.8.8 100.128.0.1 192.169.0.1 [2001:db8::1]'.split(
      ' ',
    );
  assert.deepEqual(names(...outside), outside);
});

test('what a mirror that does not answer serves is not known: it is no mirror to choose', () => {
  const away = (seconds: number) =>
    publicOf(mirrorFacts(), mirrorFacts({ name: 'away', unanswered: { seconds, detail: secret } }));
  const states = ({ mirrors }: PublicStatus) => mirrors.map(({ state }) => state);
  assert.deepEqual(states(away(60)), ['in-step', 'in-step'], 'one missed probe');
  const status = away(3600);
  assert.deepEqual([states(status), status.in_step], [['in-step', 'unknown'], 1]);
  assert.deepEqual(
    alpineMirrors(status).map(({ name }) => name),
    ['paris'],
  );
  assert.ok(!JSON.stringify(status).includes(secret));
});

test("Alpine's list has the mirrors of which something is known", () => {
  const list = alpineMirrors(publicOf(mirrorFacts(), mirrorFacts({ name: 'foreign', observedUnknownContent: true })));
  assert.deepEqual(list, [
    { name: 'paris', location: null, bandwidth: null, urls: ['https://mirror.example.org/pub/'] },
  ]);
});
