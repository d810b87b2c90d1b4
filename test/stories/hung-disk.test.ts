import assert from 'node:assert/strict';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { missingProgram } from '../support/sshd.ts';

async function run(...argv: [string, ...string[]]): Promise<string | null> {
  const result = await exec(argv, { env: childEnvironment(), timeoutMs: 120_000 });
  return result.code === 0 ? null : `${argv.join(' ')}: ${result.stderr.trim()}`;
}

test('directory mirrors whose file system hangs delay nobody, and catch up when it answers again', {
  timeout: 600_000,
}, async (t) => {
  const missing = missingProgram('mkfs.ext4', 'mount', 'umount', 'fsfreeze');
  if (missing) return t.skip(`${missing} is not installed`);
  await using primary = await Primary.create();
  const [hung, usb] = ['hung', 'usb'].map((name) => join(primary.directory, 'mirrors', name)) as [string, string];
  for (const path of [hung, usb]) await mkdir(path);
  const image = join(primary.directory, 'image');
  await writeFile(image, '');
  await truncate(image, 64 * 1024 * 1024);
  const problem = (await run('mkfs.ext4', '-q', image)) ?? (await run('mount', '-o', 'loop', image, hung));
  if (problem !== null) return t.skip(`no file system of our own can be mounted here: ${problem}`);
  // Two: one of them leaves some of Node's four threads.
  const mirrors = ['a', 'b'].map((name) => join(hung, name));
  try {
    for (const path of mirrors) await mkdir(path);
    await primary.configure({
      mirrors: [
        ...mirrors.map((path, i) => `  - { name: hung-${i}, transport: { type: directory, path: ${path} } }`),
        `  - { name: usb, transport: { type: directory, path: ${usb} } }`,
      ].join('\n'),
    });
    const repository = primary.repository('main/x86_64');
    const publish = async (generation: number): Promise<void> => {
      for (let i = 0; i < 12; i++)
        repository.set({
          name: `p${i}`,
          version: `${generation}-r0`,
          contentBytes: 20_000,
          seed: generation * 100 + i,
        });
      await repository.write(primary.inbox);
      await primary.untilInSync('usb', generation);
    };
    await primary.start();
    await publish(1);
    for (const i of mirrors.keys()) await primary.untilInSync(`hung-${i}`, 1);
    const frozen = await run('fsfreeze', '-f', hung);
    if (frozen !== null) return t.skip(frozen);
    try {
      await publish(2);
      await publish(3);
      const states = new Map((await primary.status()).mirrors.map((m) => [m.name, m.generation]));
      assert.deepEqual([...states.values()], [1, 1, 3]);
    } finally {
      await run('fsfreeze', '-u', hung);
    }
    for (const [i, path] of mirrors.entries()) {
      await primary.untilInSync(`hung-${i}`, 3);
      const there = await snapshot(path);
      for (const [name, file] of await snapshot(usb)) assert.deepEqual(there.get(name), file, name);
    }
  } finally {
    await primary.stop();
    await run('umount', '-l', hung);
  }
});
