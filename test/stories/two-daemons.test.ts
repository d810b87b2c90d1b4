import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary, snapshot } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

test('a second daemon on the same root or state refuses, whatever its socket, and touches nothing', async () => {
  await using primary = await Primary.create();
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await repository.write(primary.inbox);
  await primary.start();
  await primary.untilGeneration(1);
  const served = await snapshot(primary.public);
  const own = await readFile(primary.configFile, 'utf8');
  const { directory } = primary;
  const cases: [string, RegExp][] = [
    [own, /^lockstepd: state .*\/state: another lockstepd uses it: stop that one first/],
    [`${own}socket: ${directory}/other.sock\n`, /^lockstepd: state .*\/state: another lockstepd uses it/],
    [own.replace(/^state: .*/m, `state: ${directory}/state2`), /^lockstepd: root .*\/srv: another lockstepd uses it/],
  ];
  for (const [text, refusal] of cases) {
    const file = join(directory, 'second.yaml');
    await writeFile(file, text);
    const second = await exec([process.execPath, main, 'run', '--config', file], {
      env: childEnvironment(),
      timeoutMs: 120_000,
    });
    assert.equal(second.code, 1, second.stdout);
    assert.match(second.stderr, refusal);
  }
  assert.deepEqual(await snapshot(primary.public), served);
  assert.equal((await primary.status()).generation, 1);
  await primary.stop('SIGKILL');
  await primary.start();
});
