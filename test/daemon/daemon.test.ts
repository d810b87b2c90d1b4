import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { Daemon } from '../../src/daemon.ts';
import type { Status } from '../../src/observe/status.ts';
import { systemClock } from '../../src/system/clock.ts';
import { askDaemon } from '../../src/system/control.ts';
import { silentLog } from '../../src/system/log.ts';
import { Primary } from '../support/primary.ts';

/** A daemon in this process, so that a test can call two things at once. `logged` collects `EVENT MIRROR` of what it does. */
async function createDaemon(primary: Primary, logged: string[] = [], next?: () => Config): Promise<Daemon> {
  const load = (): Promise<Config> => loadConfig(primary.configFile, { env: {} });
  const note = (event: string, fields?: Readonly<Record<string, unknown>>): void => {
    logged.push(`${event} ${String(fields?.mirror)}`);
  };
  return new Daemon({
    config: await load(),
    loadConfig: next ? async () => next() : load,
    version: '0',
    env: {},
    clock: systemClock,
    random: Math.random,
    log: { ...silentLog, info: note, warn: note, error: note },
  });
}

const now = AbortSignal.abort();
const directoryMirror = (primary: Primary, name: string): string =>
  `  - { name: usb, transport: { type: directory, path: ${join(primary.directory, 'mirrors', name)} } }`;

test('reloads at once come one after the other: a changed mirror has one worker in the end', async () => {
  await using primary = await Primary.create();
  const configs: Config[] = [];
  for (const name of ['absent', '.']) {
    await primary.configure({ mirrors: directoryMirror(primary, name) });
    configs.push(await loadConfig(primary.configFile, { env: {} }));
  }
  const logged: string[] = [];
  let reloads = 0;
  const daemon = await createDaemon(primary, logged, () => configs[reloads++ % 2] as Config);
  await daemon.start();
  const asked: Promise<string>[] = [];
  // Until enough have come one after the other, however long each takes.
  const isEnough = (): boolean => reloads >= 10;
  while (!isEnough()) {
    asked.push(daemon.reload());
    await sleep(1);
  }
  await Promise.all(asked);
  if (reloads % 2 === 1) await daemon.reload();
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilInSync('usb', 1);
  await daemon.stop(now);
  assert.equal(logged.filter((line) => line === 'mirror_in_step usb').length, 1);
});

test('a reload while the daemon stops starts nothing', async () => {
  await using primary = await Primary.create();
  const daemon = await createDaemon(primary);
  await daemon.start();
  const stopping = daemon.stop(now);
  await assert.rejects(daemon.reload(), /the daemon is not running/);
  await stopping;
});

test('a builder that is renamed leaves no open batch and no copies, and its inbox goes on', async () => {
  await using primary = await Primary.create({ inbox: '    settle: 100ms' });
  const daemon = await createDaemon(primary);
  await daemon.start();
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);
  repository.set({ name: 'b', version: '1-r0', contentBytes: 100, seed: 2 });
  await writeFile(join(primary.inbox, 'main/x86_64/APKINDEX.tar.gz'), repository.index());
  await primary.untilBatch('held');
  await writeFile(
    primary.configFile,
    (await readFile(primary.configFile, 'utf8')).replace('builder: bpo', 'builder: renamed'),
  );
  await daemon.reload();
  const builders = async (): Promise<string[]> => {
    const { batches } = (await askDaemon(primary.socket, '/status.json')).body as Status;
    return batches.filter((batch) => batch.state === 'held').map((batch) => batch.builder);
  };
  await primary.until('the batch of the new name', async () => (await builders()).includes('renamed'));
  assert.deepEqual(await builders(), ['renamed']);
  assert.equal(existsSync(join(primary.root, 'ingest', 'bpo')), false);
  await repository.write(primary.inbox);
  await primary.untilGeneration(2);
  await daemon.stop(now);
});
