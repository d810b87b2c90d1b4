import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { Standing } from '../../src/replicate/fellow.ts';
import { MirrorPush } from '../../src/replicate/push.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import { systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';
import { kinds } from '../contract/far.ts';
import { PublishWorld } from '../publish/world.ts';

for (const shared of [true, false]) {
  test(`what only another primary knows ${shared ? 'stays on a shared mirror, until a person says otherwise' : 'is a stranger on any other mirror'}`, async (t) => {
    const kind = kinds.find(({ name }) => name === 'directory');
    assert.ok(kind);
    const scratch = mkdtempSync(join(tmpdir(), 'lockstepd-shared-'));
    t.after(() => rmSync(scratch, { recursive: true, force: true }));
    using world = new PublishWorld(scratch);
    await world.publisher.recover();
    await world.publish({ 'main/x86_64': { 'a@1-r0': 'content of a' } });
    await using far = await kind.open();
    const place = far.place('shared');
    cpSync(join(world.public, 'main'), join(place.root, 'main'), { recursive: true, preserveTimestamps: true });
    // The other primary has just put it; its index comes in a moment.
    const fresh = ['next-2-r0.apk', '.next-3-r0.apk.lockstepd-0a1b2c'].map((name) =>
      join(place.root, 'main/x86_64', name),
    );
    for (const path of fresh) writeFileSync(path, 'of another primary');
    world.store.mirrors.open('m', 'there');
    let during = (): void => {};
    const push = new MirrorPush('m', place.transport(), {
      store: world.store,
      clock: systemClock,
      log: silentLog,
      lease: () => {
        during();
        return world.publisher.lease();
      },
      graceMs: 1000,
      takes: () => true,
      shared,
      events: { bytes: () => {}, confirmed: () => {} },
    });
    await push.push(new AbortController().signal);
    assert.deepEqual(
      fresh.map((path) => existsSync(path)),
      [shared, shared],
    );
    // It is said while a push runs, which knows nothing of it: the next one does.
    during = () => push.force(true);
    await push.push(new AbortController().signal);
    during = () => {};
    await push.push(new AbortController().signal);
    assert.equal(existsSync(fresh[0] ?? ''), false);
    await push.close();
  });
}

const repository = { path: 'main/x86_64', index: 'APKINDEX.tar.gz', index_sha256: 'f'.repeat(64) };
const theirs = { generation: 7, primary: 'two', published_at: '2020-01-01T00:00:00Z', repositories: [repository] };
const theirIndex = 'an index of theirs';

/** A mirror of the primary `one` that is not said to be shared, and where nothing is yet. */
async function startUnsaid(
  t: TestContext,
  standing: Standing,
  wrap: (transport: Transport) => Transport = (transport) => transport,
): Promise<{ world: PublishWorld; at: (path: string) => string; push: MirrorPush; told: string[] }> {
  const kind = kinds.find(({ name }) => name === 'directory');
  assert.ok(kind);
  const scratch = mkdtempSync(join(tmpdir(), 'lockstepd-shared-'));
  const world = new PublishWorld(scratch);
  t.after(() => {
    world[Symbol.dispose]();
    rmSync(scratch, { recursive: true, force: true });
  });
  await world.publisher.recover();
  await world.publish({ 'main/x86_64': { 'a@1-r0': 'content of a' } });
  const far = await kind.open();
  t.after(() => far[Symbol.asyncDispose]());
  const place = far.place('unsaid');
  world.store.mirrors.open('m', 'there');
  const told: string[] = [];
  const push = new MirrorPush('m', wrap(place.transport()), {
    store: world.store,
    clock: systemClock,
    log: { ...silentLog, warn: (event: string) => void told.push(event) },
    lease: () => world.publisher.lease(),
    graceMs: 1000,
    takes: () => true,
    primary: 'one',
    vouch: async () => standing,
    events: { bytes: () => {}, confirmed: () => {} },
  });
  return { world, at: (path) => join(place.root, path), push, told };
}

test('where the work of another primary is seen in the place of ours, what only that one knows stays, without a name of our own', async (t) => {
  const { world, at, push, told } = await startUnsaid(t, 'older');
  const { signal } = new AbortController();
  await push.push(signal);
  writeFileSync(at('lockstep.json'), JSON.stringify(theirs));
  writeFileSync(at('main/x86_64/APKINDEX.tar.gz'), theirIndex);
  writeFileSync(at('main/x86_64/next-2-r0.apk'), 'of another primary');
  world.store.mirrors.doubt('m');
  await push.push(signal);
  assert.notEqual(readFileSync(at('main/x86_64/APKINDEX.tar.gz'), 'utf8'), theirIndex);
  assert.equal(existsSync(at('main/x86_64/next-2-r0.apk')), true);
  assert.deepEqual(told, ['other_primary_seen']);
  await push.close();
});

test('a trace that another primary puts while something is tidied away is not overwritten', async (t) => {
  let during = (): void => {};
  const { world, at, push } = await startUnsaid(t, 'newer', (transport) => ({
    ...transport,
    remove: async (paths, options) => {
      await transport.remove(paths, options);
      during();
    },
  }));
  const { signal } = new AbortController();
  await push.push(signal);
  writeFileSync(at('main/x86_64/.a-1-r0.apk.lockstepd-0a1b2c'), 'left over');
  world.store.mirrors.doubt('m');
  during = () => {
    writeFileSync(at('main/x86_64/APKINDEX.tar.gz'), theirIndex);
    writeFileSync(at('lockstep.json'), JSON.stringify(theirs));
  };
  await assert.rejects(push.push(signal), { reason: 'ahead' });
  assert.equal(readFileSync(at('lockstep.json'), 'utf8'), JSON.stringify(theirs));
  assert.equal(world.store.mirrors.get('m').confirmed, null);
  await push.close();
});
