import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

test('a configuration that was broken meanwhile does not hide the daemon that runs; a reload names the problems', async () => {
  await using primary = await Primary.create();
  const lockstepd = (...args: string[]) =>
    exec([process.execPath, main, ...args, '--config', primary.configFile], {
      env: childEnvironment(),
      timeoutMs: 10_000,
    });
  assert.equal((await lockstepd('status')).code, 75);
  await primary.start();
  await writeFile(primary.configFile, `${await readFile(primary.configFile, 'utf8')}bogus: 1\nworkers: none\n`);
  const status = await lockstepd('status');
  assert.deepEqual([status.code, status.stdout], [0, 'nothing published yet; 0 mirrors\n'], status.stderr);
  const reload = await lockstepd('reload');
  assert.equal(reload.code, 78);
  assert.match(
    reload.stderr,
    /^.*lockstepd\.yaml:\d+:1: bogus: unknown key, .*\n.*lockstepd\.yaml:\d+:\d+: workers: .*\n$/,
  );
  await writeFile(primary.configFile, 'root: [');
  assert.equal((await lockstepd('status')).code, 78);
});
