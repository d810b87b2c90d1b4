import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { operatorPage, type PageFacts, pagePolicy, publicPage, renderDocument } from '../../src/observe/page.ts';
import { updateBetween } from '../../src/observe/page-model.ts';
import { statusView } from '../../src/observe/status.ts';
import {
  batchFacts,
  brokerFacts,
  hostile,
  mirrorFacts,
  nowMs,
  pageText,
  repositoryFacts,
  scrubStatus,
  statusFacts,
} from './facts.ts';
import { fleetFacts, hostileHistory } from './fleet-facts.ts';

const pageOf = (facts: Parameters<typeof statusFacts>[0]): string =>
  pageText(statusView(statusFacts(facts), nowMs), nowMs);
const documentOf = (facts: PageFacts, page = operatorPage): string =>
  renderDocument(page(facts), { version: 'v1', nowMs: facts.nowMs, links: ['status.json'] });
/** The head, which is what is read first. */
const headOf = (page: string): string => /<header[^]*<\/header>/.exec(page)?.[0] ?? '';
const headline = (page: string): string => /<h1[^>]*>(.*)<\/h1>/.exec(page)?.[1] ?? '';

const behind = mirrorFacts({
  name: 'tokyo',
  state: 'waiting',
  generation: 10,
  pushedMissingSinceMs: nowMs - 3600_000,
  observedGeneration: 9,
  observedMissingSinceMs: nowMs - 7200_000,
  lastError: { reason: 'dns', message: 'no such host' },
});

test('the head says how many mirrors are in step and what needs a look, worst first; each row says why', () => {
  const page = pageOf({
    mirrors: [mirrorFacts(), behind, mirrorFacts({ name: 'lima', observedUnknownContent: true })],
    batches: [
      batchFacts({
        id: 'h1',
        state: 'held',
        generation: null,
        reasons: [{ code: 'MASS_REMOVAL', path: 'p', detail: 'd' }],
      }),
    ],
  });
  assert.equal(headline(page), '1 of 3 mirrors in step: 1 unknown content, 1 behind');
  assert.match(page, /<header id="head" class="bad">/);
  const todo = [...headOf(page).matchAll(/<li class="(\w+)">(.*)<\/li>/g)].map((m) => [
    m[1],
    m[2]?.replaceAll(/<[^>]+>/g, ''),
  ]);
  assert.deepEqual(todo, [
    ['bad', 'lima unknown content: it serves an index that was never published here'],
    ['warn', 'a batch of bpo is held (MASS_REMOVAL): lockstepd preview h1'],
    ['warn', 'tokyo waiting: behind for 2 h; dns: no such host'],
  ]);
  assert.match(page, /<a href="#m-tokyo">tokyo<\/a>/);
  const rows = [...page.matchAll(/<tr id="m-(\w+)" class="(\w+)">/g)].map((m) => [m[1], m[2]]);
  assert.deepEqual(rows, [
    ['lima', 'bad'],
    ['tokyo', 'warn'],
    ['paris', 'good'],
  ]);
  assert.match(page, /<td>waiting<td>10 <small>2 behind<\/small><td>1 h<td>2 h <small>serves 9<\/small>/);
});

test('what is only on its way is no trouble', () => {
  const pushing = mirrorFacts({
    name: 'bern',
    state: 'pushing',
    generation: 11,
    pushedMissingSinceMs: nowMs - 40_000,
    observedGeneration: 11,
    observedMissingSinceMs: nowMs - 40_000,
  });
  const page = pageOf({ mirrors: [mirrorFacts(), pushing] });
  assert.equal(headline(page), '1 of 2 mirrors in step: 1 on the way');
  assert.match(page, /<header id="head" class="busy">[^]*Nothing needs a look/);
  const late = pageOf({ mirrors: [mirrorFacts(), { ...pushing, pushedMissingSinceMs: nowMs - 3_600_000 }] });
  assert.match(late, /<header id="head" class="warn">[^]*bern<\/a> pushing: behind for 1 h/);
});

test('a mirror that has not answered for a while is trouble, though nothing is missing there; one missed probe is none', () => {
  const silent = (seconds: number) =>
    mirrorFacts({ name: 'bern', unanswered: { seconds, detail: 'main/x86_64/APKINDEX.tar.gz: ECONNREFUSED' } });
  const page = pageOf({ mirrors: [mirrorFacts(), silent(7260)] });
  assert.equal(headline(page), '1 of 2 mirrors in step: 1 not observed');
  assert.match(page, /<header id="head" class="warn">/);
  assert.match(page, /bern<\/a> not observed for 2 h 1 min: main\/x86_64\/APKINDEX.tar.gz: ECONNREFUSED</);
  assert.equal(headline(pageOf({ mirrors: [mirrorFacts(), silent(60)] })), 'All 2 mirrors in step');
});

test('the row of a mirror that is filled says how far it is', () => {
  const pushProgress = { packages: 30, packagesTotal: 100, bytes: 43, bytesTotal: 100, startedAtMs: nowMs };
  const page = pageOf({ mirrors: [mirrorFacts({ state: 'pushing', generation: null, pushProgress })] });
  assert.match(page, /<td>pushing 43 %</);
});

test('the head of a quiet primary is calm', () => {
  const page = pageOf({ mirrors: [mirrorFacts(), mirrorFacts({ name: 'bern' })] });
  assert.equal(headline(page), 'All 2 mirrors in step');
  assert.match(page, /<header id="head" class="good">[^]*Nothing needs a look/);
  assert.match(page, /<title>All 2 mirrors in step - lockstepd<\/title>/);
});

test('the page of a fresh daemon says that nothing is published', () => {
  const page = pageOf({ generation: 0, publishedAtMs: null, repositories: [], mirrors: [], batches: [] });
  assert.equal(headline(page), 'Nothing published yet');
  assert.match(page, /None is configured/);
});

test('a repository whose key is not trusted any more is trouble', () => {
  const page = pageOf({
    repositories: [repositoryFacts(), repositoryFacts({ path: 'edge/x86_64', keyState: 'removed' })],
  });
  assert.match(
    headOf(page),
    /class="bad">edge\/x86_64 hangs on the key bpo.rsa.pub, which is not trusted any more \(removed\)/,
  );
  const rows = [...page.matchAll(/<tr id="r-[^"]*" class="(\w+)"><th scope="row">([^<]*)/g)].map((m) => [m[1], m[2]]);
  assert.deepEqual(rows, [
    ['bad', 'edge/x86_64/APKINDEX.tar.gz'],
    ['good', 'main/x86_64/APKINDEX.tar.gz'],
  ]);
});

test('the page tells what the terminal tells: clocks, damage, brokers that are behind, keys, a full disk, a switch that waits', () => {
  const page = pageOf({
    mirrors: [mirrorFacts({ clockSkewSeconds: -7200 })],
    scrub: scrubStatus,
    announcements: [
      brokerFacts(),
      brokerFacts({ name: 'away', state: 'waiting', generation: 9, lastError: 'refused' }),
      brokerFacts({ name: hostile, state: 'blocked' }),
    ],
    keyProblems: [{ builder: 'bpo', path: '/k/a.pub', detail: hostile }],
    stateProblem: 'database or disk is full',
    config: {
      file: '/etc/x.yaml',
      loadedAtMs: nowMs - 3_600_000,
      failedAtMs: nowMs - 60_000,
      problems: [`mirrors: ${hostile}`],
      needsRestart: ['listen'],
    },
    hooks: [
      {
        name: 'mail',
        on: ['held'],
        running: false,
        pending: 2,
        dropped: 0,
        last: { outcome: 'failed', endedAtMs: nowMs, detail: hostile },
      },
    ],
    switching: { generation: 12, waits: true, has: 1, of: 2, stragglers: [hostile], untilMs: nowMs + 60_000 },
  });
  assert.match(page, /its clock is 2 h slow: its admin should set it/);
  const head = headOf(page);
  assert.match(
    head,
    /class="bad">state\.db cannot be written, nothing is published: database or disk is full<\/li>\n<li class="bad">damaged, no good copy found, not pushed: main\/x86_64\/a-1-r0\.apk: other bytes</,
  );
  assert.match(head, /class="warn">broker away: waiting, told of generation 9 10 min ago: refused</);
  assert.doesNotMatch(page, /broker broker/, 'one that is in step is no news');
  assert.match(
    head,
    /class="warn">the reload 1 min ago was refused; in use is the configuration that was read 1 h ago</,
  );
  assert.match(head, /class="warn">hook mail failed: [^]*; 2 events pending</);
  assert.match(head, /class="warn">key of inbox bpo not used: \/k\/a\.pub: /);
  assert.match(page, /<p>generation 12 waits to be shown by all mirrors together: 1 of 2 have its packages/);
  assert.ok(!page.includes('\u001b') && !page.includes('\u202e') && !page.includes('<script>alert'));
});

test('only what waits, is held or was rejected is among the batches, with the first reasons and what to do', () => {
  const reasons = Array.from({ length: 8 }, (_, i) => ({
    code: 'INCOMPLETE' as const,
    path: `p${i}`,
    detail: 'missing',
  }));
  const batches = [
    batchFacts({ id: 'gone' }),
    batchFacts({ id: 'no', state: 'rejected', generation: null }),
    batchFacts({ id: 'stop', state: 'held', generation: null, reasons }),
  ];
  const page = pageOf({ batches });
  assert.deepEqual(
    [...page.matchAll(/<tr id="b-(\w+)" class="(\w+)">/g)].map((m) => [m[1], m[2]]),
    [
      ['stop', 'warn'],
      ['no', 'bad'],
    ],
  );
  assert.match(page, /<li>… and 3 more<\/li><\/ul><code>lockstepd preview stop<\/code>, then <code>approve<\/code> or/);
});

test('a generation tells its way: uploaded, verified, published, each mirror when, and what changed', () => {
  const facts = fleetFacts(3, nowMs);
  const page = documentOf(facts);
  const newest =
    /<details id="g-4812" open>[^]*?<\/details>/
      .exec(page)?.[0]
      .replaceAll(/<svg[^]*?<\/svg>/g, '')
      .replaceAll(/<[^>]+>/g, '\n') ?? '';
  const at = (text: string): number => {
    assert.ok(newest.includes(text), `${text} in ${newest}`);
    return newest.indexOf(text);
  };
  const order = [
    '+3 −0',
    'on 1 of 3',
    'plasma-mobile',
    '6.5.3-r1 (added)',
    'Uploaded',
    'Verified',
    'in 8 s',
    'Published',
    'in 31 ms',
    'paris',
    'tokyo',
    'not yet',
  ].map(at);
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
  );
  assert.match(
    page,
    /<details id="g-4806">[^]*?Back to generation 4800<\/strong> by martijn: the kernel does not boot/,
  );
});

test('of many mirrors a generation tells how soon half, most and the slowest had it, and which do not', () => {
  const page = documentOf(fleetFacts(200, nowMs));
  const newest = /<details id="g-4812" open>[^]*?<\/details>/.exec(page)?.[0] ?? '';
  assert.equal(newest.match(/<li>/g)?.length, 3 + 2 + 4);
  assert.match(newest, /Half of the mirrors[^]*90 % of them/);
  assert.match(newest, /Not yet on 3 mirrors: tokyo, oslo, quito/);
});

test('hostile text stays text everywhere on both pages', () => {
  const status = statusView(
    statusFacts({
      repositories: [repositoryFacts({ path: hostile, indexSha256: hostile, signedBy: hostile })],
      mirrors: [
        mirrorFacts({
          name: hostile,
          transport: hostile,
          url: 'https://example.org/"onclick=alert(1)',
          lastError: { reason: 'unknown', message: hostile },
        }),
        mirrorFacts({ name: `$&-$\`-$1-${hostile}`, url: 'https://example.org/' }),
      ],
      batches: ['held' as const, 'rejected' as const].map((state) =>
        batchFacts({
          id: hostile,
          builder: hostile,
          state,
          reasons: [{ code: 'NAME', path: hostile, detail: hostile }],
        }),
      ),
    }),
    nowMs,
  );
  const facts = { status, history: hostileHistory(hostile, nowMs), nowMs };
  for (const page of [documentOf(facts), documentOf(facts, publicPage)]) {
    const body = /<body>[^]*<\/main>/.exec(page)?.[0] ?? '';
    assert.doesNotMatch(body, /<script|alert\('|[\p{Cc}\p{Cf}](?<!\n)/u);
    const tags = new Set([...body.matchAll(/<\/?([a-z0-9!]+)/g)].map((m) => m[1]));
    const expected =
      'a b body caption code details div h1 h2 header li main ol p path rect section small span strong summary svg table tbody td th thead time tr ul';
    assert.deepEqual(
      [...tags].filter((tag) => !expected.split(' ').includes(tag ?? '')),
      [],
    );
    assert.doesNotMatch(body, /"onclick| style="| on[a-z]+="/);
    const ids = [...body.matchAll(/ id="([^"]*)"/g)].map((m) => m[1] ?? '');
    assert.deepEqual(
      ids.filter((id) => !/^[\w.%-]+$/.test(id)),
      [],
      'an id needs no escaping in a link',
    );
  }
});

test('only web addresses become links', () => {
  assert.match(pageOf({}), /<a href="https:\/\/mirror\.example\.org\/pub\/"/);
  const page = pageOf({ mirrors: [mirrorFacts({ url: 'javascript:alert(1)' })] });
  assert.doesNotMatch(page, /href="javascript/);
});

test('the policy names the style sheet and the script that the page carries, and nothing from elsewhere', () => {
  const page = pageOf({});
  for (const [element, directive] of [
    ['style', 'style-src'],
    ['script', 'script-src'],
  ] as const) {
    const content = new RegExp(`<${element}>([\\s\\S]*)</${element}>`).exec(page)?.[1] ?? '';
    assert.ok(content.length > 1000);
    assert.ok(pagePolicy.includes(`${directive} 'sha256-${createHash('sha256').update(content).digest('base64')}'`));
  }
  assert.match(pagePolicy, /^default-src 'none';/);
  assert.doesNotMatch(pagePolicy, /unsafe|https?:|\*/);
  assert.doesNotMatch(page.replace(/<body>[^]*<\/main>/, ''), / src=|@import|url\(/);
});

test('without a script the page loads itself again, with it it does not', () => {
  const page = pageOf({});
  assert.match(page, /<noscript><meta http-equiv="refresh" content="30"><\/noscript>/);
  assert.equal(page.match(/http-equiv/g)?.length, 1);
});

test('the page of 200 mirrors is light, however their lags jump and whatever they all say', () => {
  const facts = fleetFacts(200, nowMs, { noisy: true });
  for (const page of [operatorPage, publicPage]) {
    const bytes = Buffer.byteLength(documentOf(facts, page));
    assert.ok(bytes < 150_000, `${bytes} bytes`);
  }
  const calm = fleetFacts(200, nowMs);
  const down = {
    ...calm.status,
    mirrors: calm.status.mirrors.map((mirror) => ({
      ...mirror,
      state: 'waiting' as const,
      generation: 4810,
      observed_generation: 4810,
      lag_seconds: 4000,
      observed_lag_seconds: 4000,
      next_attempt_at: mirror.last_success_at,
      last_error: `unreachable: ${'no route to host '.repeat(20)}`,
    })),
  };
  const bytes = Buffer.byteLength(documentOf({ ...calm, status: down }));
  assert.ok(bytes < 150_000, `${bytes} bytes when every mirror has a long reason`);
  const note = 'x'.repeat(60_000);
  const blocked = calm.status.mirrors.map((m) => ({ ...m, state: 'blocked' as const, last_error: note }));
  const back = calm.history.propagation.map((one) => ({ ...one, rollback: { to: 1, who: 'martijn', why: note } }));
  const talkative = {
    ...calm,
    status: { ...calm.status, mirrors: blocked },
    history: { ...calm.history, propagation: back },
  };
  const most = Buffer.byteLength(documentOf(talkative));
  assert.ok(most < 150_000, `${most} bytes when people write much`);
});

test('a second that passes changes nothing on the page, whatever waits or went wrong', () => {
  const at = (ms: number) =>
    operatorPage({
      status: statusView(
        statusFacts({
          mirrors: [
            behind,
            mirrorFacts({ name: 'bern', unanswered: { seconds: 3600 + ms / 1000, detail: 'HTTP 502' } }),
          ],
          announcements: [
            brokerFacts({ state: 'waiting', announcedAtMs: nowMs - 90_000, nextAttemptAtMs: nowMs + 100_000 }),
          ],
          upstreams: [
            {
              builder: 'up',
              generation: 12,
              publishedAtMs: nowMs - 70_000,
              says: { primary: null, generation: 40, publishedAtMs: nowMs - 80_000, named: 5, lacking: 0 },
            },
          ],
          config: {
            file: '/etc/x.yaml',
            loadedAtMs: nowMs - 200_000,
            failedAtMs: nowMs - 100_000,
            problems: ['bad'],
            needsRestart: [],
          },
        }),
        nowMs + ms,
      ),
      history: { version: 1, lag: [], propagation: [] },
      nowMs: nowMs + ms,
    });
  assert.deepEqual(updateBetween(at(1000), at(5000)), null);
});

test('an update holds what changed and nothing else', () => {
  const model = (mirrors: readonly ReturnType<typeof mirrorFacts>[]) =>
    operatorPage({
      status: statusView(statusFacts({ mirrors }), nowMs),
      history: { version: 1, lag: [], propagation: [] },
      nowMs,
    });
  const before = model([mirrorFacts(), mirrorFacts({ name: 'tokyo' })]);
  assert.equal(updateBetween(before, model([mirrorFacts(), mirrorFacts({ name: 'tokyo' })])), null);
  const after = model([mirrorFacts(), behind]);
  const update = updateBetween(before, after);
  assert.deepEqual(Object.keys(update?.set ?? {}).toSorted(), ['head', 'm-tokyo']);
  assert.deepEqual(
    [update?.title, update?.rows],
    ['1 of 2 mirrors in step: 1 behind - lockstepd', ['m-tokyo', 'm-paris']],
  );
  const gone = updateBetween(after, model([mirrorFacts()]));
  assert.deepEqual([Object.keys(gone?.set ?? {}), gone?.rows], [['head'], ['m-paris']]);
  const whole = updateBetween(null, after);
  assert.deepEqual(Object.keys(whole?.set ?? {}).length, after.sections.size + after.rows.size);
});

test('what is less than a minute is text, not a tag', () => {
  const mirror = mirrorFacts({
    state: 'pushing',
    generation: 11,
    pushedMissingSinceMs: nowMs - 5000,
    observedAtMs: null,
    url: null,
  });
  assert.match(pageOf({ mirrors: [mirror] }), /<td>&lt;1 min<td><small>no url<\/small>/);
  assert.doesNotMatch(documentOf(fleetFacts(30, nowMs)), /<\d/);
});
