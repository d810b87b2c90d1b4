import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { askDaemon } from '../../src/system/control.ts';
import { exec } from '../../src/system/exec.ts';
import { Primary } from '../support/primary.ts';

test('while the disk of the state is full the status, the page and a metric say so; what is served stays, and it ends by itself', {
  timeout: 600_000,
}, async (t) => {
  await using primary = await Primary.create({ inbox: '    settle: 200ms', more: 'schedule: { rescan: 1s }' });
  const state = join(primary.directory, 'state');
  await mkdir(state, { recursive: true });
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', state]);
  if (mounted.status !== 0) return t.skip(`a small tmpfs cannot be mounted here: ${String(mounted.stderr).trim()}`);
  try {
    await primary.start();
    const repository = primary.repository('main/x86_64');
    repository.set({ name: 'a', version: '1-r0', contentBytes: 1000, seed: 1 });
    await repository.write(primary.inbox);
    await primary.untilGeneration(1);
    assert.equal((await primary.status()).state_problem, null);
    // All that is left, to the last byte.
    spawnSync('dd', ['if=/dev/zero', `of=${join(state, 'ballast')}`, 'bs=4096'], { stdio: 'ignore' });
    await writeFile(join(state, 'more'), Buffer.alloc(4096)).catch(() => {});
    for (let n = 0; n < 400; n++) repository.set({ name: `p${n}`, version: '1-r0', contentBytes: 100, seed: 10 + n });
    await repository.write(primary.inbox);
    // Between two tries small writes may get through, and it is told as over for a moment: each view is waited for.
    const saysSo = async (): Promise<boolean> => /full|I\/O/.test((await primary.status()).state_problem ?? '');
    await primary.until('the status to say so', saysSo);
    assert.equal((await primary.status()).generation, 1);
    const shown = (path: string, pattern: RegExp): Promise<void> =>
      primary.until(`${path} to say so`, async () => {
        const { body } = await askDaemon(primary.socket, path);
        return pattern.test((body as { message: string }).message);
      });
    await shown('/metrics', /^lockstep_state_writable 0$/m);
    await primary.until('the command to say so', async () => {
      const { stdout } = await exec([process.execPath, 'src/main.ts', 'status', '--config', primary.configFile], {
        timeoutMs: 120_000,
      });
      return /state\.db cannot be written, nothing is published: .*make room/.test(stdout);
    });
    await shown('/', /state\.db cannot be written/);

    for (const name of ['ballast', 'more']) await rm(join(state, name), { force: true });
    await primary.untilGeneration(2);
    await primary.until('the problem to be over', async () => (await primary.status()).state_problem === null);
    assert.equal(await primary.stop(), 0);
  } finally {
    await primary.stop();
    spawnSync('umount', ['-l', state]);
  }
});
