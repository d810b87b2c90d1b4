import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { toGuards } from '../../src/config/guards-schema.ts';
import { parseTemplate } from '../../src/config/template.ts';
import { InboxService } from '../../src/ingest/service.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { keyringOf, temporaryDirectory } from '../support/apk.ts';

test('a batch whose key was removed after it was judged and before it went out is judged anew', async (t) => {
  const root = temporaryDirectory(t);
  const key = createSigningKey('a.rsa.pub');
  const path = join(root, 'inbox');
  await mkdir(path);
  const repository = new SampleRepository('x86_64', key);
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await repository.write(path);
  using store = openStore(join(root, 'state'));
  await using verifier = new Verifier({ workers: 1 });
  const template = parseTemplate('{arch}');
  assert.ok('value' in template);
  const [trusting, empty] = [keyringOf(key), { keys: [] }];
  let asked = 0;
  const ended: string[] = [];
  const stop = new AbortController();
  const end = (what: string): void => {
    ended.push(what);
    stop.abort();
  };
  const service = new InboxService(
    {
      builder: 'b',
      fedBy: 'builder',
      path,
      repositories: [template.value],
      keys: [],
      signatureAlgorithms: null,
      settleMs: 0,
      missingPackages: 'hold',
      packageSignatures: 'if-present',
      approval: 'if-held',
      guards: toGuards({}, {}),
      quotas: { maxFileBytes: 1e9, maxBatchBytes: 1e9, maxInboxBytes: 1e9, maxPackages: 10, maxRepositories: 10 },
    },
    {
      root,
      isOfAnother: () => false,
      reserveBytes: 0,
      quarantine: { keep: () => Promise.resolve() },
      rescanMs: 1000,
      store,
      verifier,
      // The first look at the inbox is taken with the key, everything after it without.
      keyring: () => (asked++ === 0 ? trusting : empty),
      publish: () => {
        end('published');
        return Promise.reject(new Error('not now'));
      },
      events: {
        batchEnded: (_, state, reasons) => end(`${state} ${reasons.map((r) => r.code).join(' ')}`),
        stage: () => {},
        rescanFound: () => {},
        watch: () => false,
      },
      clock: systemClock,
      log: silentLog,
    },
  );
  await assert.rejects(service.run(stop.signal), { name: 'AbortError' });
  assert.deepEqual(ended, ['rejected SIG_UNTRUSTED']);
});
