import assert from 'node:assert/strict';
import { copyFile, readdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary, snapshot } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

test('a backup of the running daemon is whole, replaces nothing unasked, and can be put back', {
  timeout: 300_000,
}, async () => {
  await using primary = await Primary.create();
  const repository = primary.repository('main/x86_64');
  const publish = async (generation: number): Promise<void> => {
    repository.set({ name: 'a', version: `${generation}-r0`, contentBytes: 100, seed: generation });
    await repository.write(primary.inbox);
    await primary.untilGeneration(generation);
  };
  const file = join(primary.directory, 'backups.db');
  const backup = (...more: string[]) =>
    exec([process.execPath, main, 'backup', file, '--config', primary.configFile, ...more], {
      env: childEnvironment(),
      timeoutMs: 120_000,
    });
  await primary.start();
  await publish(1);
  const first = await backup();
  assert.equal(first.code, 0, first.stderr);
  const bytes = await readFile(file);
  await publish(2);
  const refused = await backup();
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /backups\.db: is there already: name another file, or say --force/);
  assert.deepEqual(await readFile(file), bytes);
  assert.equal((await backup('--force')).code, 0);
  await publish(3);
  await primary.stop();
  const left = (await readdir(primary.directory)).filter((name) => name.includes('backup'));
  assert.deepEqual(left, ['backups.db'], 'no temporary file stays');

  const served = await snapshot(primary.public);
  const database = join(primary.directory, 'state/state.db');
  for (const end of ['-wal', '-shm']) await rm(`${database}${end}`, { force: true });
  await copyFile(file, database);
  await primary.start();
  assert.match(primary.log, /"event":"state_rebuilt","generation":3/);
  assert.deepEqual(await snapshot(primary.public), served);
  await publish(4);
  await rm(file);
  await primary.stop();
  assert.equal((await backup()).code, 0, 'without a daemon too');
  const nowhere = await exec([process.execPath, main, 'backup', '/nonexistent/x', '--config', primary.configFile], {
    env: childEnvironment(),
    timeoutMs: 120_000,
  });
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /^lockstepd: backup \/nonexistent\/x: \/nonexistent is no directory: make it first/);
});
