import assert from 'node:assert/strict';
import { readSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { parseTemplate } from '../../src/config/template.ts';
import { createVouch, type VouchDeps } from '../../src/daemon/vouch.ts';
import { systemClock } from '../../src/system/clock.ts';

test('an index of another primary is verified from a file that no crash can leave behind', async (t) => {
  const state = await mkdtemp(join(tmpdir(), 'lockstepd-vouch-'));
  t.after(() => rm(state, { recursive: true, force: true }));
  const template = parseTemplate('main/{arch}');
  assert.ok('value' in template);
  const seen: unknown[] = [];
  const verifyIndex = async ({ sourceFd }: { readonly sourceFd: number }) => {
    const bytes = Buffer.alloc(16);
    seen.push(bytes.toString('utf8', 0, readSync(sourceFd, bytes, 0, 16, 0)), await readdir(state));
    return { verdict: 'accepted', index: { description: null, newestBuildTime: 5 } };
  };
  const vouch = createVouch({
    config: () => ({ state, inboxes: [{ builder: 'b', repositories: [template.value] }] }),
    keyring: () => ({ keys: [] }),
    verifier: { verifyIndex },
    store: { generations: { ageOf: () => ({ description: null, newestBuildTime: 4 }) } },
    clock: systemClock,
  } as unknown as VouchDeps);
  const { signal } = new AbortController();
  assert.equal(await vouch('main/x86_64/APKINDEX.tar.gz', Buffer.from('theirs'), signal), 'newer');
  assert.deepEqual(seen, ['theirs', []]);
  assert.equal(await vouch('other/x86_64/APKINDEX.tar.gz', Buffer.from('theirs'), signal), 'untrusted');
});
