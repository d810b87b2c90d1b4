/** An operator keeps a mirror away, goes on with it, and gives another one only a part: with the real daemon. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { Primary } from '../support/primary.ts';

type Mirror = Awaited<ReturnType<Primary['status']>>['mirrors'][number];

async function mirrorOf(primary: Primary, name: string): Promise<Mirror> {
  const found = (await primary.status()).mirrors.find((mirror) => mirror.name === name);
  assert.ok(found);
  return found;
}

test('a block by hand outlives a restart, and the mirror catches up once it is over; a part is all that a mirror gets', {
  timeout: 600_000,
}, async () => {
  await using primary = await Primary.create();
  const at = (name: string): string => join(primary.directory, 'mirrors', name);
  for (const name of ['paris', 'small']) await mkdir(at(name), { recursive: true });
  const entry = (name: string, more = ''): string =>
    `  - name: ${name}\n    transport: { type: directory, path: ${at(name)} }\n${more}`;
  await primary.configure({
    repositories: ['main/{arch}', 'edge/{arch}'],
    mirrors: entry('paris') + entry('small', '    include: ["main/{arch}"]\n'),
  });
  await primary.start();
  const [main, edge] = [primary.repository('main/x86_64'), primary.repository('edge/x86_64')];
  main.set({ name: 'hello', version: '1.0-r0', contentBytes: 500, seed: 1 });
  edge.set({ name: 'early', version: '1.0-r0', contentBytes: 500, seed: 1 });
  await main.write(primary.inbox);
  await edge.write(primary.inbox);
  await primary.until('both mirrors to hold main', () =>
    ['paris', 'small'].every((name) => existsSync(join(at(name), 'main/x86_64/APKINDEX.tar.gz'))),
  );
  await primary.until('paris to hold edge', () => existsSync(join(at('paris'), 'edge/x86_64/APKINDEX.tar.gz')));
  await primary.until('small in sync', async () => (await mirrorOf(primary, 'small')).state === 'in-sync');
  assert.ok(!existsSync(join(at('small'), 'edge')), 'what is outside of its part is not sent');

  const blocked = await primary.control('mirror', { mirror: 'paris', action: 'block', who: 'root', why: 'disks' });
  assert.equal(blocked.status, 200);
  edge.set({ name: 'late', version: '1.0-r0', contentBytes: 500, seed: 1 });
  await edge.write(primary.inbox);
  await primary.until('the batch to be out', () => existsSync(join(primary.public, 'edge/x86_64/late-1.0-r0.apk')));
  await primary.stop();
  await primary.start();
  const told = await mirrorOf(primary, 'paris');
  assert.deepEqual(
    [told.state, told.blocked_by, told.last_error],
    ['blocked', 'operator', 'blocked by hand: by root: disks'],
  );
  assert.equal((await primary.control('push', { mirror: 'paris' })).status, 409);
  assert.ok(!existsSync(join(at('paris'), 'edge/x86_64/late-1.0-r0.apk')));
  assert.equal(
    (await primary.control('mirror', { mirror: 'oslo', action: 'unblock', who: 'root', why: '' })).status,
    404,
  );
  assert.equal(
    (await primary.control('mirror', { mirror: 'paris', action: 'pause', who: 'root', why: '' })).status,
    400,
  );

  const unblocked = await primary.control('mirror', { mirror: 'paris', action: 'unblock', who: 'root', why: '' });
  assert.equal(unblocked.status, 200);
  await primary.until('paris to catch up', () => existsSync(join(at('paris'), 'edge/x86_64/late-1.0-r0.apk')));
  const { generation } = await primary.status();
  await primary.untilInSync('paris', generation);
  await primary.untilInSync('small', generation);
});
