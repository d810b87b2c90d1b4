import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HookConfig, HookEvent } from '../../src/config/hooks-schema.ts';
import { HookRunner } from '../../src/daemon/hook-runner.ts';
import type { HookOutcome } from '../../src/observe/hooks.ts';
import { type EventFacts, eventsKept } from '../../src/store/events.ts';
import { openStore } from '../../src/store/store.ts';
import { type Clock, systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';

const blocked = (mirror: string): EventFacts => {
  return { event: 'mirror_blocked', mirror, blockedBy: 'permanent', reason: 'auth', detail: 'no key' };
};

/** A store, and hooks whose program is a script of the test; `out` is where it writes. */
function world(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-hooks-'));
  const store = openStore(directory);
  t.after(() => {
    store[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
  });
  const out = join(directory, 'out');
  const outcomes: HookOutcome[] = [];
  const logged: Record<string, unknown>[] = [];
  const waits: number[] = [];
  /** Waits of the runner itself pass at once, so that a back-off costs no time. */
  const clock: Clock = {
    ...systemClock,
    sleep: async (ms, options) => {
      if (ms < 60_000 && ms >= 5000) waits.push(ms);
      await systemClock.sleep(ms >= 60_000 ? ms : Math.min(ms, 50), options);
    },
  };
  const note = (event: string, fields?: object): void => void logged.push({ event, ...fields });
  const start = (script: string, options: Partial<HookConfig> = {}, hurry = new AbortController().signal) => {
    const program = join(directory, `hook-${logged.length}-${Math.random()}`);
    writeFileSync(program, `#!/bin/sh\nout=${out}\n${script}\n`, { mode: 0o755 });
    const config: HookConfig = {
      name: 'h',
      on: ['published', 'mirror_blocked', 'mirror_recovered'],
      command: [program, 'an argument', '$(id)'],
      timeoutMs: 60_000,
      ...options,
    };
    store.events.open(config.name, config.on);
    const runner = new HookRunner(config, {
      store,
      metrics: { hooks: { ended: (_, outcome) => outcomes.push(outcome), missed: () => {} } },
      primary: () => 'dl.example.org',
      env: { HOME: '/secret', SECRET: 'x' },
      hurry,
      clock,
      log: { ...silentLog, info: note, warn: note, error: note },
    });
    store.events.listen(() => runner.wake());
    const stop = new AbortController();
    const done = runner.run(stop.signal).catch((error: unknown) => assert.ok(stop.signal.aborted, String(error)));
    return {
      runner,
      end: async () => {
        stop.abort();
        await done;
      },
    };
  };
  const add = (facts: EventFacts): void => store.events.add(Date.UTC(2026, 10, 23), facts);
  const until = async (what: string, condition: () => boolean): Promise<void> => {
    const deadline = performance.now() + 60_000;
    while (!condition()) {
      if (performance.now() > deadline) assert.fail(`waited for ${what}: ${JSON.stringify(logged)}`);
      await sleep(10);
    }
  };
  const lines = (): string[] => (existsSync(out) ? readFileSync(out, 'utf8').split('\n').slice(0, -1) : []);
  return { directory, store, start, add, until, lines, out, outcomes, logged, waits };
}

test('a program gets its event as JSON, its arguments as they are, and a small environment', async (t) => {
  const { start, add, until, lines, outcomes } = world(t);
  process.env.HOOK_TEST_SECRET = 'x';
  t.after(() => delete process.env.HOOK_TEST_SECRET);
  const { end } = start('jq -c . >"$out"; printf "%s\\n" "$1" "$2" "$PWD" >>"$out"; env | sort >>"$out"');
  add(blocked('paris\u001b[2J'));
  await until('the end', () => outcomes.length === 1);
  const [json = '', first, second, cwd, ...env] = lines();
  const summary = 'mirror paris\\u{1b}[2J is blocked: auth: no key';
  if (json !== '')
    assert.deepEqual(JSON.parse(json), {
      version: 1,
      event: 'mirror_blocked',
      id: 1,
      at: '2026-11-23T00:00:00Z',
      primary: 'dl.example.org',
      summary: 'mirror paris\u001b[2J is blocked: auth: no key',
      mirror: 'paris\u001b[2J',
      blocked_by: 'permanent',
      reason: 'auth',
      detail: 'no key',
    });
  assert.deepEqual([first, second, cwd], ['an argument', '$(id)', '/']);
  const own = env.map((line) => line.replace(/=.*/, '')).filter((key) => !['_', 'OLDPWD', 'SHLVL'].includes(key));
  assert.deepEqual(own, ['HOME', 'LC_ALL', 'LOCKSTEPD_EVENT', 'LOCKSTEPD_HOOK', 'LOCKSTEPD_SUMMARY', 'PATH', 'PWD']);
  assert.ok(env.includes(`LOCKSTEPD_SUMMARY=${summary}`), env.join('\n'));
  await end();
});

test('events come in order, one at a time, and only those that were asked for', async (t) => {
  const { start, add, until, lines, outcomes } = world(t);
  const on: HookEvent[] = ['mirror_blocked'];
  const { end } = start('echo begin "$LOCKSTEPD_SUMMARY" >>"$out"; sleep 0.05; echo end >>"$out"', { on });
  for (const name of ['a', 'b', 'c']) {
    add(blocked(name));
    add({ event: 'mirror_recovered', mirror: name, generation: null });
  }
  await until('three runs', () => outcomes.length === 3);
  await end();
  const begin = (name: string): string => `begin mirror ${name} is blocked: auth: no key`;
  assert.deepEqual(lines(), [begin('a'), 'end', begin('b'), 'end', begin('c'), 'end']);
});

test('a failure is logged with what the program said, and the next event goes on; exit code 75 comes again', async (t) => {
  const { start, add, until, outcomes, logged, waits, store } = world(t);
  const { end, runner } = start(
    `read line; case $LOCKSTEPD_SUMMARY in
*bad*) printf 'line 1\\nno route\\n' >&2; exit 3;;
*later*) echo x >>"$out"; [ "$(wc -l <"$out")" -ge 4 ] || exit 75;;
esac`,
  );
  for (const name of ['bad', 'later', 'good']) add(blocked(name));
  await until('all runs', () => outcomes.length === 6);
  assert.deepEqual(outcomes, ['failed', 'again', 'again', 'again', 'ok', 'ok']);
  assert.deepEqual(waits, [5000, 10_000, 20_000]);
  const [failed] = logged.filter(({ event }) => event === 'hook_failed');
  assert.equal(failed?.detail, 'exit code 3: line 1\nno route');
  assert.equal(failed.exit_code, 3);
  await until('the last to be written down', () => store.events.next('h', 0) === null);
  assert.equal(runner.facts.pending, 0);
  await end();
});

test('what outlives the deadline is ended with all that it started, though it has left TERM unheard', async (t) => {
  // The deadline comes when both are there, however long their start takes.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { start, add, until, lines, outcomes } = world(t);
  const { end } = start(
    `trap '' TERM; sh -c 'trap "" TERM; echo $$ >>"$0"; sleep 100; sleep 100' "$out" & echo $$ >>"$out"; wait; sleep 100`,
    { timeoutMs: 300 },
  );
  add(blocked('paris'));
  await until('both to run', () => lines().length === 2);
  const pids = lines().map(Number);
  t.mock.timers.tick(300);
  await sleep(100);
  assert.deepEqual(
    pids.map((pid) => isRunning(pid)),
    [true, true],
    'TERM is unheard',
  );
  t.mock.timers.tick(2000);
  await until('the end', () => outcomes.length === 1);
  assert.deepEqual(outcomes, ['timeout']);
  await until('both to be gone', () => pids.every((pid) => !isRunning(pid)));
  await end();
});

test('what a hook leaves in the background with its output open is named, and ended; what let go of it lives on', async (t) => {
  // The deadline comes once the first program has ended, and never for the second.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { start, add, until, lines, outcomes, logged } = world(t);
  const { end } = start(
    `if [ -e "$out" ]; then sleep 100 >/dev/null 2>&1 & else sleep 100 & fi; echo $! $$ >>"$out"; exit 0`,
    { timeoutMs: 300 },
  );
  add(blocked('paris'));
  add(blocked('oslo'));
  await until('the first to be there', () => lines().length === 1);
  const [held = 0, program = 0] = lines()[0]?.split(' ').map(Number) ?? [];
  await until('its program to end', () => !isRunning(program));
  t.mock.timers.tick(300);
  await until('both', () => outcomes.length === 2);
  assert.deepEqual(outcomes, ['timeout', 'ok']);
  assert.equal(logged[0]?.detail, 'exit code 0, but what it started was still running after 0.3 s');
  const free = Number(lines()[1]?.split(' ')[0]);
  await until('the first to be gone', () => !isRunning(held));
  assert.equal(isRunning(free), true);
  process.kill(free);
  await end();
});

test('an endless output is bounded, and a program that is not there is no reason to stop', async (t) => {
  const { start, add, until, outcomes, logged } = world(t);
  const noisy = start('head -c 3000000 /dev/zero | tr "\\0" x >&2; exit 1');
  add(blocked('paris'));
  await until('the end', () => outcomes.length === 1);
  assert.equal(String(logged[0]?.detail).length, 'exit code 1: '.length + 2000);
  await noisy.end();
  const absent = start('', { command: ['/nowhere/hook'] });
  add(blocked('paris'));
  await until('the second end', () => outcomes.length === 2);
  assert.equal(outcomes[1], 'failed');
  assert.match(String(logged.at(-1)?.detail), /^cannot be started: .*ENOENT/);
  await absent.end();
});

test('what the end of the daemon cuts off is told again; what ends in time is not', async (t) => {
  const { start, add, until, lines, outcomes, store } = world(t);
  const quick = start('echo quick >>"$out"; sleep 0.02');
  add(blocked('a'));
  await until('the program to run', () => lines().length === 1);
  await quick.end();
  assert.deepEqual(outcomes, ['ok']);
  const hurry = new AbortController();
  const slow = start('echo slow >>"$out"; exec sleep 100', {}, hurry.signal);
  add(blocked('b'));
  await until('the program to run', () => lines().length === 2);
  hurry.abort();
  await slow.end();
  assert.deepEqual(outcomes, ['ok', 'aborted']);
  assert.equal(store.events.next('h', 0)?.facts.event, 'mirror_blocked');
  const again = start('echo again "$LOCKSTEPD_SUMMARY" >>"$out"');
  await until('the event to be told again', () => outcomes.length === 3);
  assert.deepEqual(lines().at(-1), 'again mirror b is blocked: auth: no key');
  await again.end();
});

test('a new hook is told of what comes from then on; one that went is forgotten', (t) => {
  const { store, add } = world(t);
  add(blocked('a'));
  store.events.open('new', ['mirror_blocked']);
  assert.equal(store.events.next('new', 0), null);
  add(blocked('b'));
  assert.equal(store.events.next('new', 0)?.id, 2);
  store.events.keepOnly([]);
  store.events.open('new', ['mirror_blocked']);
  assert.equal(store.events.next('new', 0), null);
});

test('of too many events the oldest are dropped and counted, each hook by what it wants', (t) => {
  const { store, add } = world(t);
  store.events.open('blocked', ['mirror_blocked']);
  store.events.open('both', ['mirror_blocked', 'mirror_recovered']);
  add(blocked('a'));
  add({ event: 'mirror_recovered', mirror: 'a', generation: 1 });
  for (let n = 0; n < eventsKept; n++) add(blocked('b'));
  assert.deepEqual(store.events.queueOf('blocked', 0), { pending: eventsKept, dropped: 1 });
  assert.deepEqual(store.events.queueOf('both', 0), { pending: eventsKept, dropped: 2 });
  store.events.told('both', 1002);
  add(blocked('c'));
  assert.deepEqual(store.events.queueOf('both', 0), { pending: 1, dropped: 2 });
});

function isRunning(pid: number): boolean {
  try {
    // A zombie that nobody has waited for is gone as well.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
