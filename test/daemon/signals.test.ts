import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Primary } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');
/** Says when the command is about to be loaded (before our first line the system itself acts on a signal), and makes that take its time. */
const slowLoading = `data:text/javascript,
import { registerHooks } from 'node:module';
registerHooks({ load(url, context, next) {
  if (url.endsWith('/cli/run.ts')) process.stderr.write('loading');
  if (url.endsWith('/src/daemon.ts')) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
  return next(url, context);
} });`;

interface Run {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly log: string;
}

/** Starts the daemon, sends `signal` so long after its command begins to be loaded, and SIGTERM once it is ready. */
async function startAndSend(primary: Primary, signal: NodeJS.Signals, afterMs: number): Promise<Run> {
  const child = spawn(process.execPath, ['--import', slowLoading, main, 'run', '--config', primary.configFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  let [sent, ended] = [false, false];
  child.stdout.on('data', (chunk: Buffer) => {
    log += chunk.toString();
    if (signal !== 'SIGHUP' || ended || !log.includes('"event":"reloaded"')) return;
    ended = true;
    child.kill('SIGTERM');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString();
    if (sent || !log.includes('loading')) return;
    sent = true;
    void sleep(afterMs).then(() => child.kill(signal));
  });
  const deadline = setTimeout(() => child.kill('SIGKILL'), 120_000);
  const [code, by] = await new Promise<[number | null, NodeJS.Signals | null]>((done) =>
    child.once('close', (...how) => done(how)),
  );
  clearTimeout(deadline);
  return { code, signal: by, log };
}

test('a SIGHUP in the first moments of a start is kept, and done once the daemon is ready', async () => {
  await using primary = await Primary.create();
  for (const afterMs of [0, 100, 200, 400]) {
    const { code, signal, log } = await startAndSend(primary, 'SIGHUP', afterMs);
    assert.deepEqual([code, signal], [0, null], `${afterMs} ms: ${log}`);
    assert.match(log, /"event":"started"[\s\S]*"event":"reloaded"/, `${afterMs} ms`);
    assert.equal(log.split('"event":"reloaded"').length, 2, 'once');
  }
});

test('a SIGTERM in the first moments of a start ends it cleanly', async () => {
  await using primary = await Primary.create();
  for (const afterMs of [0, 100, 200, 400]) {
    const { code, signal, log } = await startAndSend(primary, 'SIGTERM', afterMs);
    assert.deepEqual([code, signal], [0, null], `${afterMs} ms: ${log}`);
    assert.doesNotMatch(log, /"level":"error"/);
  }
});
