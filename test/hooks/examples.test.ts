import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { hookPayload } from '../../src/observe/hook-payload.ts';
import type { EventFacts, PublishedFacts } from '../../src/store/events.ts';
import { exec, type ExecResult } from '../../src/system/exec.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const hooks = resolve(import.meta.dirname, '../../config/hooks');

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-examples-'));
  removeAtEnd(t, directory);
  return directory;
}

/** Runs an example as the daemon would; programs in `path` come first. */
function runHook(
  argv: readonly [string, ...string[]],
  facts: EventFacts,
  { path = '', published = null }: { readonly path?: string; readonly published?: PublishedFacts | null } = {},
): Promise<ExecResult> {
  const payload = hookPayload({ id: 7, atMs: 0, facts }, 'dl.example.org', published);
  const [name, ...args] = argv;
  return exec([join(hooks, name), ...args], {
    env: {
      PATH: `${path}:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME: '/',
      LC_ALL: 'C',
      LOCKSTEPD_HOOK: 'h',
      LOCKSTEPD_EVENT: facts.event,
      LOCKSTEPD_SUMMARY: payload.summary,
    },
    cwd: '/',
    input: `${JSON.stringify(payload, null, 1)}\n`,
    timeoutMs: 120_000,
  });
}

const held: EventFacts = {
  event: 'held',
  batch: '20261123T000000-bpo-1f2e3d4c',
  builder: 'bpo',
  repositories: ['main/x86_64'],
  reasons: [{ code: 'MASS_REMOVAL', path: 'main/x86_64', detail: 'grüße: 40 of 100 packages' }],
  reasonsTotal: 1,
};

test('mail: one mail with the event, its address and nothing of the event among the header fields', async (t) => {
  const directory = scratch(t);
  writeFileSync(
    join(directory, 'sendmail'),
    `#!/bin/sh\nprintf '%s\\n' "$@" >${directory}/args\ncat >${directory}/mail\nexit $(cat ${directory}/code)\n`,
    { mode: 0o755 },
  );
  writeFileSync(join(directory, 'code'), '0');
  const result = await runHook(['mail', 'ops@example.org'], held, { path: directory });
  assert.deepEqual([result.code, result.stderr], [0, '']);
  assert.equal(readFileSync(join(directory, 'args'), 'utf8'), '-i\n-t\n');
  const [head = '', text, hint, ...rest] = readFileSync(join(directory, 'mail'), 'utf8').split('\n\n');
  assert.deepEqual(head.split('\n').slice(0, 2), [
    'To: ops@example.org',
    'Subject: [lockstepd] batch 20261123T000000-bpo-1f2e3d4c of bpo is held: MASS_REMOVAL main/x86_64: gre: 40 of 100 packages',
  ]);
  assert.match(text ?? '', /grüße/);
  assert.match(hint ?? '', /lockstepd preview/);
  const payload = JSON.parse(rest.join('\n\n')) as { batch: string };
  assert.equal(payload.batch, held.batch);
  for (const [code, expected] of [
    ['75', 75],
    ['69', 75],
    ['67', 67],
  ] as const) {
    writeFileSync(join(directory, 'code'), code);
    assert.equal((await runHook(['mail', 'ops@example.org'], held, { path: directory })).code, expected);
  }
});

const published: EventFacts = { event: 'published', generation: 12, batch: 'b' };
const changes: PublishedFacts = {
  builder: 'bpo',
  added: 1,
  removed: 0,
  indexes: ['main/x86_64/APKINDEX.tar.gz', 'staging/a b#1/x86_64/APKINDEX.tar.gz'],
};

test('purge-cdn: each changed index and the trace is purged; what the cache refuses is tried again', async (t) => {
  if (['jq', 'curl'].some((program) => spawnSync(program, ['--version']).error)) return t.skip('jq or curl absent');
  const seen: string[] = [];
  let status = 200;
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${String(request.headers['fastly-key'])}`);
    response.writeHead(status).end();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/repo/`;
  const secret = join(scratch(t), 'curl');
  writeFileSync(secret, 'header = "Fastly-Key: s3cret"\n', { mode: 0o600 });
  const result = await runHook(['purge-cdn', base, secret], published, { published: changes });
  assert.deepEqual([result.code, result.stdout, result.stderr], [0, '', '']);
  assert.deepEqual(seen, [
    'PURGE /repo/main/x86_64/APKINDEX.tar.gz s3cret',
    'PURGE /repo/staging/a%20b%231/x86_64/APKINDEX.tar.gz s3cret',
    'PURGE /repo/lockstep.json s3cret',
  ]);
  seen.length = 0;
  assert.equal((await runHook(['purge-cdn', base], published, { published: changes })).code, 0);
  assert.equal(seen[0], 'PURGE /repo/main/x86_64/APKINDEX.tar.gz undefined');
  status = 503;
  const refused = await runHook(['purge-cdn', base], published, { published: changes });
  assert.equal(refused.code, 75);
  assert.match(refused.stderr, /503/);
});
