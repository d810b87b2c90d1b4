import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { askDaemon } from '../../src/system/control.ts';
import { Primary } from '../support/primary.ts';

interface Told {
  readonly event: string;
  readonly id: number;
  readonly [field: string]: unknown;
}

/** A primary with a mirror and a hook that writes each event as one line to `told`; `script` comes first. */
async function world(script: string): Promise<{ primary: Primary; told: () => Promise<Told[]>; hook: string }> {
  const primary = await Primary.create();
  await mkdir(join(primary.directory, 'mirrors/usb'));
  const hook = join(primary.directory, 'hook');
  const out = join(primary.directory, 'told');
  await appendFile(out, '');
  await writeFile(hook, `#!/bin/sh\n${script}\ntr -d '\\n' >>${out}; echo >>${out}\n`, { mode: 0o755 });
  await primary.configure({
    inbox: '    settle: 200ms',
    mirrors: `  - { name: usb, transport: { type: directory, path: ${join(primary.directory, 'mirrors/usb')} } }`,
    more: `hooks:\n  - { name: tell, on: [published, held, rejected, mirror_blocked, mirror_recovered], command: [${hook}] }\nschedule: { rescan: 1s }`,
  });
  const told = async (): Promise<Told[]> => {
    const lines = (await readFile(out, 'utf8')).split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Told);
  };
  return { primary, told, hook };
}

test('a hook is told of a generation, a held and a rejected batch, a mirror that is blocked and one that recovers', {
  timeout: 600_000,
}, async () => {
  const { primary, told } = await world('');
  await using _ = primary;
  await primary.start();
  const repository = primary.repository('main/x86_64');
  for (let n = 0; n < 5; n++) repository.set({ name: `p${n}`, version: '1-r0', contentBytes: 100, seed: n });
  await repository.write(primary.inbox);
  await primary.untilInSync('usb', 1);
  const untilTold = async (count: number): Promise<Told> => {
    await primary.until(`${count} events`, async () => (await told()).length >= count);
    // It writes before it ends, and only its end counts.
    await primary.until('the hook to end', async () => (await primary.status()).hooks[0]?.pending === 0);
    const all = await told();
    assert.equal(all.length, count, JSON.stringify(all, null, 1));
    return all[count - 1] as Told;
  };
  const { at, batch, primary: name, ...published } = await untilTold(1);
  assert.match(String(at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.deepEqual(published, {
    version: 1,
    event: 'published',
    id: 1,
    summary: 'generation 1 is published: 5 packages added, 0 removed',
    generation: 1,
    builder: 'bpo',
    added: 5,
    removed: 0,
    indexes: ['main/x86_64/APKINDEX.tar.gz'],
  });

  await primary.control('mirror', { mirror: 'usb', action: 'block', who: 'ops', why: 'disk swap' });
  const { mirror, blocked_by: by, detail } = await untilTold(2);
  assert.deepEqual([mirror, by, detail], ['usb', 'operator', 'by ops: disk swap']);
  // Over a restart the block stays, and is not told again.
  assert.equal(await primary.stop(), 0);
  await primary.start();
  await primary.control('mirror', { mirror: 'usb', action: 'unblock', who: 'ops', why: '' });
  const recovered = await untilTold(3);
  assert.deepEqual([recovered.event, recovered.mirror, recovered.generation], ['mirror_recovered', 'usb', 1]);

  for (let n = 1; n < 5; n++) repository.remove(`p${n}`);
  await repository.write(primary.inbox);
  const held = await untilTold(4);
  assert.equal(held.event, 'held');
  assert.deepEqual(
    (held.reasons as { code: string }[]).map(({ code }) => code),
    ['MASS_REMOVAL'],
  );
  await primary.control('approve', { batch: held.batch, who: 'ops', why: '' });
  assert.deepEqual((await untilTold(5)).removed, 4);

  const stranger = new SampleRepository('main/x86_64', createSigningKey('other.rsa.pub'));
  stranger.set({ name: 'evil', version: '1-r0', contentBytes: 100, seed: 9 });
  await stranger.write(primary.inbox);
  const rejected = await untilTold(6);
  assert.deepEqual([rejected.event, rejected.builder, rejected.reasons_total], ['rejected', 'bpo', 1]);

  const { body } = await askDaemon(primary.socket, '/metrics');
  assert.match((body as { message: string }).message, /^lockstep_hook_runs_total\{hook="tell",outcome="ok"\} 4$/m);
  const [hook] = (await primary.status()).hooks;
  assert.deepEqual([hook?.last_outcome, hook?.last_error, hook?.dropped], ['ok', null, 0]);
  assert.deepEqual([typeof batch, typeof name], ['string', 'string']);
});

test('a hook that hangs delays neither a publish nor a push nor the end; what was killed with the daemon is told again', {
  timeout: 600_000,
}, async () => {
  const { primary, told, hook } = await world('echo $$ >>"$0.pids"; sleep 600');
  await using _ = primary;
  await primary.start();
  const repository = primary.repository('main/x86_64');
  for (let n = 1; n <= 3; n++) {
    repository.set({ name: `p${n}`, version: '1-r0', contentBytes: 100, seed: n });
    await repository.write(primary.inbox);
    await primary.untilInSync('usb', n);
  }
  const runs = async (): Promise<number[]> =>
    (await readFile(`${hook}.pids`, 'utf8').catch(() => '')).split('\n').slice(0, -1).map(Number);
  await primary.until('the hook to run', async () => (await runs()).length === 1);
  assert.deepEqual(
    (await primary.status()).hooks.map(({ running, pending }) => [running, pending]),
    [[true, 3]],
  );
  await primary.stop('SIGKILL');
  for (const pid of await runs()) process.kill(-pid, 'SIGKILL');
  await primary.start();
  await primary.until('the hook to run again', async () => (await runs()).length === 2);
  assert.equal(await primary.stop(), 0, 'the end does not wait for the hook');
  assert.deepEqual(await told(), []);

  await writeFile(hook, (await readFile(hook, 'utf8')).replace(/^echo.*\n/m, ''));
  await primary.start();
  await primary.until('all events', async () => (await told()).length === 3);
  assert.deepEqual(
    (await told()).map(({ id, event, generation }) => [id, event, generation]),
    [
      [1, 'published', 1],
      [2, 'published', 2],
      [3, 'published', 3],
    ],
  );
  assert.equal(await primary.stop(), 0);
});
