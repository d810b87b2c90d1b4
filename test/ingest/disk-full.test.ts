import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { createSigningKey, makeIndex, makePackage } from '../../src/apk/make.ts';
import type { InboxConfig } from '../../src/config/schema.ts';
import { toGuards } from '../../src/config/guards-schema.ts';
import { parseTemplate } from '../../src/config/template.ts';
import { OperationError } from '../../src/errors.ts';
import { Candidate } from '../../src/ingest/candidate.ts';
import { Surveyor } from '../../src/ingest/surveyor.ts';
import { Inbox } from '../../src/ingest/walk.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { type PackageVerdict, Verifier } from '../../src/trust/verify.ts';
import { keyringOf, temporaryDirectory } from '../support/apk.ts';

/** The disk is full when the first package is copied; the others still find room. */
class FullOnce extends Verifier {
  #calls = 0;

  override async verifyPackage(options: Parameters<Verifier['verifyPackage']>[0]): Promise<PackageVerdict> {
    if (this.#calls++ === 0) throw new OperationError('DISK_FULL', 'no space left');
    return super.verifyPackage(options);
  }
}

test('one package of several finds the disk full: the repository waits, though the others were copied after it', async (t) => {
  const root = temporaryDirectory(t);
  const key = createSigningKey('test.rsa.pub');
  const made = ['a', 'b', 'c'].map((name, seed) =>
    makePackage({ name, version: '1-r0', arch: 'x86_64', contentBytes: 100, seed }, key),
  );
  const place = join(root, 'inbox/main/x86_64');
  await mkdir(place, { recursive: true });
  await mkdir(join(root, 'ingest/bpo'), { recursive: true });
  for (const { file, bytes } of made) await writeFile(join(place, file), bytes);
  const entries = made.map(({ entry }) => entry);
  await writeFile(join(place, 'APKINDEX.tar.gz'), makeIndex(entries, key));
  const store = openStore(join(root, 'state'));
  t.after(() => store[Symbol.dispose]());
  await using verifier = new FullOnce({ workers: 1 });
  const parsed = parseTemplate('main/{arch}');
  assert.ok('value' in parsed);
  const config: InboxConfig = {
    builder: 'bpo',
    fedBy: 'builder',
    path: join(root, 'inbox'),
    repositories: [parsed.value],
    keys: [],
    signatureAlgorithms: null,
    settleMs: 0,
    missingPackages: 'hold',
    packageSignatures: 'if-present',
    approval: 'if-held',
    guards: toGuards({}, {}),
    quotas: { maxFileBytes: 1e9, maxBatchBytes: 1e9, maxInboxBytes: 1e9, maxPackages: 10, maxRepositories: 10 },
  };
  await using inbox = await Inbox.open(config.path);
  assert.ok(inbox);
  const survey = { path: config.path, repositories: config.repositories, maxRepositories: 10, rescanMs: 60_000 };
  const [found] = (await new Surveyor({ ...survey, clock: systemClock }).survey(inbox)).indexes;
  assert.ok(found);
  const signal = new AbortController().signal;
  const keyring = keyringOf(key);
  const own = { inbox: config, root, store, verifier, keyring, clock: systemClock, signal };
  const candidate = await Candidate.read(inbox, found, { ...own, reserveBytes: 0, onProgress: () => {} });
  await candidate.look(inbox);

  await candidate.copy(inbox);
  assert.equal(candidate.hasUncopied(), true);
  const held = candidate.assess();
  assert.equal(held.kind, 'guarded');
  assert.deepEqual('reasons' in held && held.reasons.map(({ code }) => code), ['DISK']);

  await candidate.look(inbox);
  await candidate.copy(inbox);
  assert.equal(candidate.hasUncopied(), false);
  assert.equal(candidate.assess().kind, 'closed');
});
