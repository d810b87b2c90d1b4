import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type TestContext } from 'node:test';
import { exec } from '../../src/system/exec.ts';
import { type Log, silentLog } from '../../src/system/log.ts';
import { createNotifier } from '../../src/system/notify.ts';

/** Prints each datagram as one line; the barrier of systemd-notify ends when its descriptor is dropped. Ends after ten minutes. */
const receiver = `
import signal, socket, sys
signal.alarm(600)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(65536).decode().strip().replace("\\n", "|"), flush=True)
`;

interface Receiver {
  readonly socket: string;
  readonly next: () => Promise<string>;
}

/** A real datagram socket, or the name of the program that lacks. */
async function listen(t: TestContext): Promise<Receiver | string> {
  for (const program of ['systemd-notify', 'python3']) {
    const found = await exec([program, '--version'], { timeoutMs: 10_000 }).catch(() => null);
    if (found?.code !== 0) return program;
  }
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-notify-'));
  const socket = join(directory, 'notify');
  const child = spawn('python3', ['-c', receiver, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(async () => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    rmSync(directory, { recursive: true });
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done === true) return 'the receiver ended';
      if (value !== 'BARRIER=1') return value;
    }
  };
  assert.equal(await next(), 'bound');
  return { socket, next };
}

function recorder(): { log: Log; warnings: unknown[] } {
  const warnings: unknown[] = [];
  return { log: { ...silentLog, warn: (event, fields) => warnings.push({ event, ...fields }) }, warnings };
}

test('systemd hears every change of state, in order and once', async (t) => {
  const receiving = await listen(t);
  if (typeof receiving === 'string') return t.skip(`${receiving} absent`);
  const { log, warnings } = recorder();
  const notifier = createNotifier({ env: { NOTIFY_SOCKET: receiving.socket }, log });
  await Promise.all([
    notifier.ready('generation 12\nserved'),
    notifier.status('generation 12 served'),
    notifier.status('generation 13 served'),
    notifier.watchdog(),
    notifier.reloading(),
    notifier.ready('generation 13 served'),
    notifier.stopping(),
  ]);
  const heard: string[] = [];
  for (let i = 0; i < 6; i++) heard.push(await receiving.next());
  assert.deepEqual(heard, [
    'READY=1|STATUS=generation 12 served',
    'STATUS=generation 13 served',
    'WATCHDOG=1',
    'RELOADING=1',
    'READY=1|STATUS=generation 13 served',
    'STOPPING=1',
  ]);
  assert.deepEqual(warnings, []);
});

test('messages that are sent at once arrive in their order', async (t) => {
  const receiving = await listen(t);
  if (typeof receiving === 'string') return t.skip(`${receiving} absent`);
  const notifier = createNotifier({ env: { NOTIFY_SOCKET: receiving.socket }, log: silentLog });
  const texts = Array.from({ length: 16 }, (_, index) => `step ${index}`);
  await Promise.all(texts.map((text) => notifier.status(text)));
  for (const text of texts) assert.equal(await receiving.next(), `STATUS=${text}`);
});

test('without systemd nothing is started and nothing is logged', async () => {
  const { log, warnings } = recorder();
  const notifier = createNotifier({ env: { WATCHDOG_USEC: '60000000', PATH: '/nonexistent' }, log });
  await notifier.ready('up');
  await notifier.watchdog();
  assert.deepEqual(warnings, []);
  assert.equal(notifier.watchdogIntervalMs, null);
});

test('a socket that nobody listens on is logged, and later messages are still tried', async (t) => {
  const found = await exec(['systemd-notify', '--version'], { timeoutMs: 10_000 }).catch(() => null);
  if (found?.code !== 0) return t.skip('systemd-notify absent');
  const { log, warnings } = recorder();
  const notifier = createNotifier({ env: { NOTIFY_SOCKET: '/nonexistent/notify' }, log });
  await notifier.ready('up');
  await notifier.stopping();
  assert.equal(warnings.length, 2);
  assert.match(
    JSON.stringify(warnings[0]),
    /"event":"notify_failed","message":"READY=1 STATUS=up","exit_code":1,"detail":".+/,
  );
});

test('the watchdog is fed three times within the patience of systemd, by the process that it watches', () => {
  const interval = (env: Record<string, string>) =>
    createNotifier({ env: { NOTIFY_SOCKET: '/x', ...env }, log: silentLog }).watchdogIntervalMs;
  assert.equal(interval({ WATCHDOG_USEC: '60000000' }), 20_000);
  assert.equal(interval({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: String(process.pid) }), 20_000);
  assert.equal(interval({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '1' }), null);
  assert.equal(interval({ WATCHDOG_USEC: 'soon' }), null);
  assert.equal(interval({ WATCHDOG_USEC: '0' }), null);
  assert.equal(interval({}), null);
});
