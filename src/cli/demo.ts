/** `lockstepd demo`: the main job on this machine, live: a builder, a primary and mirrors, one of which goes away now and then. */
import { createHash } from 'node:crypto';
import { relative } from 'node:path';
import { loadConfig } from '../config/load.ts';
import { Daemon } from '../daemon.ts';
import { messageOf, OperationError, UsageError } from '../errors.ts';
import type { Status } from '../observe/status.ts';
import { systemClock } from '../system/clock.ts';
import { askDaemon } from '../system/control.ts';
import { escapeText, type Log } from '../system/log.ts';
import { version } from '../system/version.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { type Line, Story, seconds } from './demo-story.ts';
import { createWorld, type DemoWorld } from './demo-world.ts';
import { spec } from './specs/demo.ts';

export const command: Command = { spec, run: demo };

interface DemoOptions {
  /** Null: until it is stopped. */
  readonly endAfterMs: number | null;
  readonly intervalMs: number;
  readonly port: number;
}

/** In intervals: the flaky mirror leaves after so many, stays away for so many, and all of it once in so many. */
const rhythm = { leaves: 3, away: 2.5, cycle: 9 } as const;
const catchUpMs = 30_000;

async function demo(args: readonly string[], io: Io): Promise<number> {
  const options = readOptions(args);
  // A terminal that is closed ends the demo as Ctrl-C does.
  const hangUp = new AbortController();
  const onHangUp = (): void => hangUp.abort(new DOMException('SIGHUP', 'AbortError'));
  process.once('SIGHUP', onHangUp);
  const signal = AbortSignal.any([io.signal, hangUp.signal]);
  let code: number = exitCode.ok;
  try {
    code = await show(options, io, signal);
  } catch (error) {
    // Whatever waits ends with an AbortError of its own; a failure to clean up is none, and is told.
    if (!signal.aborted || !(error instanceof Error) || error.name !== 'AbortError') throw error;
  } finally {
    process.off('SIGHUP', onHangUp);
  }
  io.out('The demo has ended and left nothing behind.\n');
  return code;
}

function readOptions(args: readonly string[]): DemoOptions {
  const { values } = readArgs(spec, args);
  const number = (
    key: 'seconds' | 'interval' | 'port',
    least: number,
    most: number,
    expected: string,
  ): number | null => {
    const written = values[key];
    if (written === undefined) return null;
    const value = /^\d+(\.\d+)?$/.test(written) ? Number(written) : Number.NaN;
    if (value >= least && value <= most && (key !== 'port' || Number.isInteger(value))) return value;
    throw new UsageError(`demo: --${key} ${escapeText(written)}: expected ${expected}`);
  };
  const ends = number('seconds', 1, 86_400, 'seconds from 1 to 86400');
  return {
    endAfterMs: ends === null ? null : ends * 1000,
    intervalMs: (number('interval', 0.5, 3600, 'seconds from 0.5 to 3600') ?? 0) * 1000,
    port: number('port', 0, 65_535, 'a port from 0 (any that is free) to 65535') ?? 0,
  };
}

/** Everything that was begun is ended when this settles: the stack unwinds daemon, servers, sshd and folder, in this order. */
async function show(options: DemoOptions, io: Io, signal: AbortSignal): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const startedAt = systemClock.monotonic();
  const story = new Story();
  const print = ({ who, text }: Line): void => {
    const at = seconds(systemClock.monotonic() - startedAt).padStart(8);
    io.out(`${at}  ${who.padEnd(9)} ${escapeText(text)}\n`);
  };
  const world = await createWorld(stack, options.port, signal);
  const log = logTo((event, fields = {}) => {
    const line = signal.aborted ? null : story.tell(event, fields, systemClock.monotonic());
    if (line) print(line);
  });
  const load = (): ReturnType<typeof loadConfig> => loadConfig(world.configFile, { env: {} });
  const daemon = new Daemon({
    config: await load(),
    loadConfig: load,
    version,
    env: {},
    clock: systemClock,
    random: Math.random,
    log,
  });
  // Nobody waits for pushes in hand.
  stack.defer(() => daemon.stop(AbortSignal.abort()));
  await daemon.start();
  io.out(introduction(world, options, daemon.address?.port ?? 0));

  const ending = new AbortController();
  const until = AbortSignal.any([signal, ending.signal]);
  const acts = [buildAndUpload(world, options, print, { until, signal }), comeAndGo(world, options, print, until)];
  stack.defer(async () => {
    ending.abort();
    await Promise.allSettled(acts);
  });
  const end = options.endAfterMs === null ? [] : [systemClock.sleep(options.endAfterMs, { signal: until })];
  await Promise.race([daemon.failed(), ...acts, ...end]);
  ending.abort();
  await Promise.allSettled(acts);
  await world.flaky.comeBack();
  const result = await Promise.race([daemon.failed(), waitForAll(world, signal)]);
  if (result.inStep) {
    print({
      who: 'demo',
      text: `all ${world.mirrors.length} mirrors serve generation ${result.generation}, with the same index bytes as the primary`,
    });
    return exitCode.ok;
  }
  io.err(`lockstepd: demo: ${escapeText(result.behind.join('; '))}\n`);
  return exitCode.behind;
}

function logTo(tell: Log['info']): Log {
  return { debug: () => {}, info: tell, warn: tell, error: tell };
}

function introduction(world: DemoWorld, options: DemoOptions, port: number): string {
  const row = (who: string, what: string): string => `  ${who.padEnd(12)} ${what}\n`;
  const away = (rhythm.away * options.intervalMs) / 1000;
  return [
    `lockstepd ${version}, demo. Everything is in ${relative(process.cwd(), world.folder)} and goes away at the end.\n\n`,
    row('builder', `uploads a signed batch every ${options.intervalMs / 1000} s ${world.way}`),
    row('primary', `verifies, publishes, replicates; serves ${world.primaryUrl}`),
    ...world.mirrors.map((mirror) => row(mirror.name, `mirror: ${mirror.what}; serves ${mirror.url}`)),
    row('status page', `http://127.0.0.1:${port}/`),
    world.without === null ? '' : `\nWithout rsync and ssh: ${escapeText(world.without)}.\n`,
    `\n${world.flaky.name} is going to be away for ${away} s now and then: see how the others do not wait, and how it catches up.\n`,
    'Ctrl-C ends the demo.\n\n',
  ].join('');
}

interface Ends {
  /** Begin nothing new. */
  readonly until: AbortSignal;
  /** Break off. */
  readonly signal: AbortSignal;
}

/** Uploads batch after batch until told to end; an upload that fails is told, and its packages go with the next one. */
async function buildAndUpload(
  world: DemoWorld,
  { intervalMs }: DemoOptions,
  print: (line: Line) => void,
  { until, signal }: Ends,
): Promise<void> {
  for (;;) {
    until.throwIfAborted();
    const startedAt = systemClock.monotonic();
    try {
      const { batch, packages, bytes } = await world.builder.next(systemClock.now(), signal);
      print({
        who: 'builder',
        text: `batch ${batch}: ${packages} packages (${Math.round(bytes / 1000)} kB) and 2 indexes uploaded in ${Math.round(systemClock.monotonic() - startedAt)} ms`,
      });
    } catch (error) {
      signal.throwIfAborted();
      print({ who: 'builder', text: `upload failed, tried again with the next batch: ${messageOf(error)}` });
    }
    await systemClock.sleep(intervalMs, { signal: until });
  }
}

/** The flaky mirror's life, until aborted. */
async function comeAndGo(
  { flaky }: DemoWorld,
  { intervalMs }: DemoOptions,
  print: (line: Line) => void,
  signal: AbortSignal,
): Promise<void> {
  await systemClock.sleep(rhythm.leaves * intervalMs, { signal });
  for (;;) {
    await flaky.leave();
    print({
      who: flaky.name,
      text: `goes away for ${seconds(rhythm.away * intervalMs)}, as planned: its SFTP server is down`,
    });
    await systemClock.sleep(rhythm.away * intervalMs, { signal });
    await flaky.comeBack();
    print({ who: flaky.name, text: 'is back and waits to be found' });
    await systemClock.sleep((rhythm.cycle - rhythm.away) * intervalMs, { signal });
  }
}

type Outcome =
  | { readonly inStep: true; readonly generation: number }
  | { readonly inStep: false; readonly behind: readonly string[] };

/** Waits until every mirror serves the bytes that the primary serves, asked over HTTP as a client would; gives up after a while. */
async function waitForAll(world: DemoWorld, signal: AbortSignal): Promise<Outcome> {
  const deadline = systemClock.monotonic() + catchUpMs;
  for (;;) {
    signal.throwIfAborted();
    const status = (await askDaemon(world.socket, '/status.json')).body as Status;
    const wanted = await digestsOf(world, world.primaryUrl, signal);
    const digests = await Promise.all(world.mirrors.map((mirror) => digestsOf(world, mirror.url, signal)));
    const behind = world.mirrors.filter((_, i) => digests[i] !== wanted).map(({ name }) => `${name} is not in step`);
    const open = status.batches.some((batch) => batch.state === 'waiting');
    if (wanted === null) behind.push('nothing was published');
    if (behind.length === 0 && !open) return { inStep: true, generation: status.generation };
    if (systemClock.monotonic() > deadline)
      return { inStep: false, behind: open ? [...behind, 'a batch still waits'] : behind };
    await systemClock.sleep(200, { signal });
  }
}

/** The SHA-256 of each index at `url`, in one text; null when one is absent. */
async function digestsOf({ builder }: DemoWorld, url: string, signal: AbortSignal): Promise<string | null> {
  const found: string[] = [];
  for (const repository of builder.repositories) {
    const response = await fetch(`${url}${repository}/APKINDEX.tar.gz`, { signal });
    const body = Buffer.from(await response.arrayBuffer());
    if (response.status === 404) return null;
    if (!response.ok) throw new OperationError('STATE', `demo: ${url} answered ${response.status}`);
    found.push(createHash('sha256').update(body).digest('hex'));
  }
  return found.join(' ');
}
