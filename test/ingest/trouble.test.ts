import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { createSigningKey, makeIndex, makePackage } from '../../src/apk/make.ts';
import type { InboxConfig } from '../../src/config/schema.ts';
import { toGuards } from '../../src/config/guards-schema.ts';
import { parseTemplate, type Template } from '../../src/config/template.ts';
import { Candidate } from '../../src/ingest/candidate.ts';
import { Surveyor } from '../../src/ingest/surveyor.ts';
import type { CandidateDeps } from '../../src/ingest/packages.ts';
import { Inbox } from '../../src/ingest/walk.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { keyringOf, temporaryDirectory } from '../support/apk.ts';

function template(text: string): Template {
  const parsed = parseTemplate(text);
  assert.ok('value' in parsed);
  return parsed.value;
}

function surveyor(path: string, repositories: readonly string[], maxRepositories: number): Surveyor {
  const options = { path, repositories: repositories.map(template), maxRepositories };
  return new Surveyor({ ...options, clock: systemClock, rescanMs: 60_000 });
}

const broken = Object.assign(new Error('EIO: i/o error, open'), { code: 'EIO' });

/** The inbox, in which one directory lies on a broken part of the disk. */
function withBroken(inbox: Inbox, repository: string): Inbox {
  const directory = (components: readonly string[]): ReturnType<Inbox['directory']> =>
    components.join('/') === repository ? Promise.reject(broken) : inbox.directory(components);
  return { directory } as Inbox;
}

test('a directory that cannot be read is a problem of its own, the others are found', async (t) => {
  const path = temporaryDirectory(t);
  for (const name of ['bad', 'good', 'ugly']) {
    await mkdir(join(path, name, 'x86_64'), { recursive: true });
    await writeFile(join(path, name, 'x86_64/APKINDEX.tar.gz'), 'x');
  }
  await using inbox = await Inbox.open(path);
  assert.ok(inbox);
  for (const at of ['bad', 'bad/x86_64']) {
    const { indexes, problems } = await surveyor(path, ['*/{arch}'], 100).survey(withBroken(inbox, at));
    assert.deepEqual(
      indexes.map((i) => i.repository),
      ['good/x86_64', 'ugly/x86_64'],
    );
    const detail = 'cannot be looked at: EIO: i/o error, open';
    assert.deepEqual(problems, [{ code: 'INCOMPLETE', path: at, detail, held: true }]);
  }
});

test('more directories than the quota are told, and the others are still looked at', async (t) => {
  const path = temporaryDirectory(t);
  for (let n = 0; n < 30; n++) await mkdir(join(path, `d${n}`, 'x86_64'), { recursive: true });
  await mkdir(join(path, 'main/x86_64'), { recursive: true });
  await writeFile(join(path, 'main/x86_64/APKINDEX.tar.gz'), 'x');
  await using inbox = await Inbox.open(path);
  assert.ok(inbox);
  const { indexes, problems, watchable } = await surveyor(path, ['*/{arch}', 'main/{arch}'], 10).survey(inbox);
  assert.deepEqual(
    indexes.map((i) => i.repository),
    ['main/x86_64'],
  );
  assert.deepEqual(
    problems.map((p) => [p.code, p.path, p.held]),
    [['QUOTA', '*/{arch}', true]],
  );
  assert.ok(watchable.length < 50, `${watchable.length} paths to watch`);
});

test('an index or a package that cannot be read holds its repository until it can', async (t) => {
  const root = temporaryDirectory(t);
  const key = createSigningKey('test.rsa.pub');
  const made = makePackage({ name: 'a', version: '1-r0', arch: 'x86_64', contentBytes: 100, seed: 1 }, key);
  const place = join(root, 'inbox/main/x86_64');
  await mkdir(place, { recursive: true });
  await mkdir(join(root, 'ingest/bpo'), { recursive: true });
  await writeFile(join(place, made.file), made.bytes);
  await writeFile(join(place, 'APKINDEX.tar.gz'), makeIndex([made.entry], key));
  const store = openStore(join(root, 'state'));
  t.after(() => store[Symbol.dispose]());
  await using verifier = new Verifier({ workers: 1 });
  const config: InboxConfig = {
    builder: 'bpo',
    fedBy: 'builder',
    path: join(root, 'inbox'),
    repositories: [template('main/{arch}')],
    keys: [],
    signatureAlgorithms: null,
    settleMs: 0,
    missingPackages: 'hold',
    packageSignatures: 'if-present',
    approval: 'if-held',
    guards: toGuards({}, {}),
    quotas: { maxFileBytes: 1e9, maxBatchBytes: 1e9, maxInboxBytes: 1e9, maxPackages: 10, maxRepositories: 10 },
  };
  const deps: CandidateDeps = {
    inbox: config,
    root,
    store,
    verifier,
    keyring: keyringOf(key),
    reserveBytes: 0,
    clock: systemClock,
    signal: new AbortController().signal,
    onProgress: () => {},
  };
  await using inbox = await Inbox.open(config.path);
  assert.ok(inbox);
  const [found] = (await surveyor(config.path, ['main/{arch}'], 10).survey(inbox)).indexes;
  assert.ok(found);
  const bad = withBroken(inbox, 'main/x86_64');

  const unread = await Candidate.read(bad, found, deps);
  assert.equal(unread.unread, true);
  const detail = 'cannot be read now: EIO: i/o error, open';
  const held = [{ code: 'INCOMPLETE', path: 'main/x86_64', detail }];
  assert.deepEqual(unread.assess(), {
    repository: 'main/x86_64',
    index: 'main/x86_64/APKINDEX.tar.gz',
    sha256: null,
    base: null,
    vanished: false,
    kind: 'guarded',
    reasons: held,
  });

  const candidate = await Candidate.read(inbox, found, deps);
  await candidate.look(inbox);
  assert.equal(candidate.assess().kind, 'closed');
  for (const step of ['look', 'copy'] as const) {
    await candidate[step](bad);
    const assessment = candidate.assess();
    assert.deepEqual([assessment.kind, 'reasons' in assessment && assessment.reasons], ['guarded', held], step);
    await candidate.look(inbox);
    assert.equal(candidate.assess().kind, 'closed', `after ${step} failed once`);
  }
  await candidate.copy(inbox);
  assert.equal(store.staging.counts(candidate.id).ready, 1);
});
