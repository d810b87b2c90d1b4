import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { createAdbSigningKey } from '../../src/apk/make-adb.ts';
import { AdbRepository } from '../support/adb-repository.ts';
import { Primary, snapshot } from '../support/primary.ts';

const order = { repository: null, who: 'alice', why: 'a test', dry_run: false };
const settle = '    settle: 200ms';
const rescan = 'schedule: { rescan: 1s }';

test('a rollback does not touch the reserve of the disk: it says so and changes nothing', {
  timeout: 600_000,
}, async () => {
  await using primary = await Primary.create({ inbox: settle, more: rescan });
  await primary.start();
  const repository = primary.repository('main/x86_64');
  for (const n of [1, 2]) {
    repository.set({ name: 'a', version: `${n}-r0`, contentBytes: 1000, seed: n });
    await repository.write(primary.inbox);
    await primary.untilGeneration(n);
  }
  const before = await snapshot(primary.public);
  await primary.configure({ inbox: settle, more: `${rescan}\nreserve: 1000TiB` });
  assert.equal((await primary.control('reload', {})).status, 200);
  const refused = await primary.control('rollback', { ...order, to: 1 });
  assert.equal(refused.status, 409);
  assert.match(
    (refused.body as { message: string }).message,
    /in reserve, which are not free below .*make room; nothing was changed/,
  );
  assert.deepEqual(await snapshot(primary.public), before);
  assert.equal((await primary.status()).generation, 2);

  await primary.configure({ inbox: settle, more: rescan });
  assert.equal((await primary.control('reload', {})).status, 200);
  assert.equal((await primary.control('rollback', { ...order, to: 1 })).status, 200);
  assert.equal((await primary.status()).generation, 3);
});

test('an apk v3 repository goes back too, byte for byte, and what it left is held', { timeout: 600_000 }, async () => {
  await using primary = await Primary.create({ inbox: settle, more: rescan });
  const key = createAdbSigningKey('builder.pem');
  await writeFile(join(primary.directory, 'keys', key.name), key.publicPem);
  await primary.start();
  const repository = new AdbRepository('main/x86_64', key, { indexFile: 'packages.adb' });
  repository.set('stays', '1-r0', 'the same');
  for (const n of [1, 2]) {
    repository.set('tool', `${n}-r0`, `content ${n}`);
    await repository.write(primary.inbox);
    await primary.untilGeneration(n);
  }
  const served = async (): Promise<string> =>
    createHash('sha256')
      .update(await readFile(join(primary.public, 'main/x86_64/packages.adb')))
      .digest('hex');
  const second = await served();
  const done = await primary.control('rollback', { ...order, to: 1 });
  assert.equal(done.status, 200, JSON.stringify(done.body));
  assert.notEqual(await served(), second);
  const files = await snapshot(primary.public);
  for (const name of ['stays-1-r0.apk', 'tool-1-r0.apk']) assert.ok(files.has(`main/x86_64/${name}`), name);
  const held = await primary.untilBatch('held');
  assert.deepEqual(
    held.reasons.map(({ code }) => code),
    ['REPLAY'],
  );
  const again = await primary.control('rollback', { ...order, to: 2 });
  assert.equal(again.status, 200, JSON.stringify(again.body));
  assert.equal(await served(), second);
  assert.equal((await primary.status()).generation, 4);
});

test('a batch that is taken in while somebody goes back is judged by what is served then, and nothing is lost', {
  timeout: 600_000,
}, async () => {
  await using primary = await Primary.create({ inbox: settle, more: rescan });
  await primary.start();
  const repository = primary.repository('main/x86_64');
  for (const n of [1, 2]) {
    repository.set({ name: 'a', version: `${n}-r0`, contentBytes: 1000, seed: n });
    await repository.write(primary.inbox);
    await primary.untilGeneration(n);
  }
  for (let n = 0; n < 150; n++)
    repository.set({ name: `many${n}`, version: '1-r0', contentBytes: 20_000, seed: 100 + n });
  await repository.write(primary.inbox);
  const back = await primary.control('rollback', { ...order, to: 1 });
  assert.equal(back.status, 200, JSON.stringify(back.body));
  if ((back.body as { generation: number }).generation === 3) {
    // The newer index is no replay, and brings its packages.
    await primary.untilGeneration(4);
  } else {
    // It was out before somebody went back: then that took it away, and it waits for a yes.
    const held = await primary.untilBatch('held');
    assert.deepEqual(
      held.reasons.map(({ code }) => code),
      ['REPLAY'],
    );
    await primary.until('the approval', async () => {
      const { status } = await primary.control('approve', { batch: held.id, who: 'alice', why: 'a test' });
      return status < 300 || (await primary.status()).generation >= 5;
    });
    await primary.untilGeneration(5);
  }
  assert.equal((await primary.status()).repositories[0]?.packages, 151);
  const files = await snapshot(primary.public);
  assert.ok(files.has('main/x86_64/a-2-r0.apk') && files.has('main/x86_64/many149-1-r0.apk'));
});
