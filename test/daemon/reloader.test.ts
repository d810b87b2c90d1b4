import assert from 'node:assert/strict';
import test from 'node:test';
import { Reloader, type ReloaderDeps } from '../../src/daemon/reloader.ts';
import { ConfigError } from '../../src/errors.ts';
import { systemClock } from '../../src/system/clock.ts';
import { Mutex } from '../../src/system/limit.ts';
import { silentLog } from '../../src/system/log.ts';

test('of many reloads that are asked for at once one waits, and reads the file after the last of them was asked for', async () => {
  const changes = new Mutex();
  const reads: string[] = [];
  let file = 'a';
  const reloader = new Reloader({
    config: { file: '/etc/x.yaml' },
    loadConfig: () => {
      reads.push(file);
      return Promise.reject(
        new ConfigError([{ file: '/etc/x.yaml', line: 1, column: 1, key: 'x', message: `bad ${file}` }]),
      );
    },
    running: () => ({}),
    isRunning: () => true,
    changes,
    notifier: { reloading: async () => {}, ready: async () => {} },
    status: () => '',
    metrics: { configReload: () => {} },
    clock: systemClock,
    log: silentLog,
  } as unknown as ReloaderDeps);
  const busy = Promise.withResolvers<undefined>();
  const start = changes.run(() => busy.promise);
  const asked = Array.from({ length: 100 }, () => reloader.reload());
  file = 'b';
  asked.push(reloader.reload());
  busy.resolve(undefined);
  await start;
  for (const result of await Promise.allSettled(asked)) assert.equal(result.status, 'rejected');
  assert.deepEqual(reads, ['b']);
  await assert.rejects(reloader.reload(), /bad b/);
  assert.equal(reads.length, 2, 'one that is asked for later runs');
});
