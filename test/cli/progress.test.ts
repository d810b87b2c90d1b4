import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary } from '../support/primary.ts';
import { hasScript, Terminal } from '../support/terminal.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

test('first sync, scrub and adopt show how far they are on a terminal, and only words in a pipe', async (t) => {
  if (!hasScript) return t.skip('script absent');
  await using primary = await Primary.create();
  const old = join(primary.directory, 'old');
  const repository = primary.repository('main/x86_64');
  for (let n = 0; n < 12; n++) repository.set({ name: `p${n}`, version: '1-r0', contentBytes: 200_000, seed: n });
  await repository.write(old);
  const config = ['--config', primary.configFile];
  const inPipe = (...args: string[]) =>
    exec([process.execPath, main, ...args, ...config], { env: childEnvironment(), timeoutMs: 120_000 });

  await t.test('adopt', async () => {
    await using terminal = new Terminal(['adopt', old, ...config], { columns: 100 });
    assert.equal(await terminal.ended(), 0);
    assert.match(terminal.output, /\r\[#*\.*\] +\d+ % +\d+ packages/);
    const sum = terminal.output.split('\r\x1b[K').at(-1) ?? '';
    assert.match(sum, /^1 indexes, 12 packages of \d+ bytes verified/, 'the bar is gone before the sum');
    const piped = await inPipe('adopt', old);
    assert.deepEqual([piped.code, piped.stderr], [0, '']);
  });

  const disk = join(primary.directory, 'mirrors');
  await mkdir(join(primary.directory, 'empty'));
  const configure = (bandwidth: string): Promise<void> =>
    primary.configure({
      mirrors: `  - { name: disk, transport: { type: directory, path: ${disk} }, bandwidth: ${bandwidth} }`,
      more: 'scrub: { rate: 1MiB }',
    });
  // Slow enough to be looked at for as long as it takes; see below for what ends it.
  await configure('64KiB');
  await primary.start();

  await t.test('push --wait, while the mirror is filled', async () => {
    await using terminal = new Terminal(['push', 'disk', '--wait', ...config], { columns: 100 });
    let seen: unknown = null;
    await primary.until('the push to be measured', async () => {
      const [mirror] = (await primary.status()).mirrors;
      seen = mirror?.push_progress ?? seen;
      return mirror?.push_progress != null && mirror.push_progress.bytes > 0;
    });
    const { packages_total: total, bytes_total: bytes } = seen as { packages_total: number; bytes_total: number };
    assert.equal(total, 12);
    assert.ok(bytes > 600_000);
    assert.match((await inPipe('status')).stdout, /\ndisk +pushing \d+ % /);
    await terminal.until(/\r\[#*\.*\] +\d+ % +\d+ of 12 packages +[\d.]+ [kM]B of [\d.]+ MB/);
    await configure('100MiB');
    assert.equal((await inPipe('reload')).code, 0);
    assert.equal(await terminal.ended(), 0);
    assert.match(terminal.output, /disk: in step, generation 1\r*\n$/);
    await primary.until('the measure to go', async () => (await primary.status()).mirrors[0]?.push_progress === null);
    const again = await inPipe('push', 'disk', '--wait');
    assert.deepEqual([again.code, again.stderr], [0, '']);
  });

  await t.test('scrub', async () => {
    await using terminal = new Terminal(['scrub', ...config], { columns: 100 });
    assert.equal(await terminal.ended(), 0);
    assert.match(terminal.output, /\r\[#*\.*\] +\d+ % +\d+ of 1\d files/);
    assert.ok(terminal.output.includes('\r\x1b[Kprimary: '));
  });

  await t.test('push --wait to a mirror that fails', async () => {
    await primary.stop();
    await primary.configure({ mirrors: '  - { name: gone, transport: { type: directory, path: /proc/nowhere } }' });
    await primary.start();
    const { code, stderr } = await inPipe('push', 'gone', '--wait');
    assert.equal(code, 3);
    assert.match(stderr, /^lockstepd: push: gone: waiting: not_found: /);
  });
});
