/** Runs one rclone: our arguments, a clean environment, progress from its log, a failure as a TransportError. Decides no arguments of a transfer. */
import { messageOf, TransportError } from '../errors.ts';
import { childEnvironment, exec, type ExecResult } from '../system/exec.ts';
import { escapeText } from '../system/log.ts';
import { rcloneFault } from './rclone-faults.ts';
import { parseLogLine, type RunStats } from './rclone-plan.ts';

export interface RcloneSetup {
  readonly configFile: string;
  readonly stallMs: number;
  /** Null: no limit. */
  readonly bytesPerSecond: number | null;
}

export interface RcloneRequest {
  /** The command and its arguments. */
  readonly args: readonly [string, ...string[]];
  /** Names, one on each line of stdin. */
  readonly names?: readonly string[];
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly onBytes?: (bytes: number) => void;
  readonly onStdout?: (chunk: Buffer) => void;
  /** Exit codes that are no failure. */
  readonly accept?: readonly number[];
}

export interface RcloneRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stats: RunStats;
}

const nothing: RunStats = { bytes: 0, transfers: 0, renames: 0, deletes: 0, checks: 0 };
/** A line of the log that is longer is of no use. */
const longestLine = 64 * 1024;
const messagesKept = 5;
const connectTimeout = '15s';

/** `onBytes` is called with 0 for progress other than bytes. Throws TransportError, or the signal's reason once aborted. */
export async function runRclone(setup: RcloneSetup, request: RcloneRequest): Promise<RcloneRun> {
  const log = new LogReader(request.onBytes ?? (() => {}));
  const [command, ...rest] = request.args;
  const argv: [string, ...string[]] = [
    'rclone',
    command,
    ...rest,
    `--config=${setup.configFile}`,
    '--ask-password=false',
    // The worker tries again, and knows when.
    '--retries=1',
    '--low-level-retries=2',
    `--contimeout=${connectTimeout}`,
    `--timeout=${Math.ceil(setup.stallMs / 1000)}s`,
    ...(setup.bytesPerSecond === null ? [] : [`--bwlimit=${setup.bytesPerSecond}B`]),
    '--use-json-log',
    '--log-level=NOTICE',
    '--stats=250ms',
    '--stats-log-level=NOTICE',
  ];
  let result: ExecResult;
  try {
    result = await exec(argv, {
      cwd: '/',
      // Of the RCLONE_ variables only this one: an account without the right to make buckets may write into one.
      env: childEnvironment({ RCLONE_S3_NO_CHECK_BUCKET: 'true' }),
      timeoutMs: request.timeoutMs,
      signal: request.signal,
      onStderr: (chunk) => log.read(chunk),
      ...(request.names ? { input: request.names.map((name) => `${name}\n`).join('') } : {}),
      ...(request.onStdout ? { onStdout: request.onStdout } : {}),
    });
  } catch (error) {
    request.signal?.throwIfAborted();
    const message = `rclone cannot be started: is it installed? (${messageOf(error)})`;
    throw new TransportError('local', 'permanent', escapeText(message), { cause: error });
  }
  if (result.timedOut)
    throw new TransportError('timeout', 'retryable', 'rclone took longer than its deadline: is the link too slow?');
  const { stats, said } = log.end();
  if (result.code !== 0 && !request.accept?.includes(result.code ?? -1)) {
    const { reason, kind, message } = rcloneFault(result.code, escapeText(said));
    throw new TransportError(reason, kind, message);
  }
  return { code: result.code, stdout: result.stdout, stats };
}

class LogReader {
  readonly #onBytes: (bytes: number) => void;
  #rest = '';
  #stats = nothing;
  #messages: string[] = [];

  constructor(onBytes: (bytes: number) => void) {
    this.#onBytes = onBytes;
  }

  read(chunk: Buffer): void {
    const lines = (this.#rest + chunk.toString('utf8')).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, longestLine);
    for (const line of lines) if (line !== '') this.#line(line);
  }

  end(): { readonly stats: RunStats; readonly said: string } {
    if (this.#rest !== '') this.#line(this.#rest);
    this.#rest = '';
    return { stats: this.#stats, said: this.#messages.join('; ') };
  }

  #line(line: string): void {
    const read = parseLogLine(line);
    if ('message' in read) {
      if (read.message !== '' && this.#messages.length < messagesKept) this.#messages.push(read.message.trim());
      return;
    }
    const before = this.#stats;
    this.#stats = read.stats;
    const moved = (Object.keys(nothing) as (keyof RunStats)[]).some((key) => read.stats[key] > before[key]);
    // The report comes by the clock: only one that tells of something new is a sign of life.
    if (moved) this.#onBytes(Math.max(0, read.stats.bytes - before.bytes));
  }
}
