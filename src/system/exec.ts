/** Runs child processes: an argument array, an explicit environment, our deadline, TERM then KILL, bounded output. Never a shell string. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { errnoOf } from '../errors.ts';

export interface ExecOptions {
  readonly cwd?: string;
  /** The whole environment of the child; nothing is inherited. */
  readonly env?: Readonly<Record<string, string>>;
  /** Written to the child's stdin, which is then closed. */
  readonly input?: string | Buffer;
  /** Our deadline in milliseconds: TERM at the deadline, KILL `killAfterMs` later. */
  readonly timeoutMs: number;
  readonly killAfterMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** The child leads a process group, and all of that group is ended: for programs that start others, as scripts do. */
  readonly group?: boolean;
  /** Gets a duplex stream that is the child's file descriptor 3. */
  readonly onChannel?: (channel: Duplex) => void;
  /** Gets all of stdout as it comes, for output that may be longer than what the result keeps. */
  readonly onStdout?: (chunk: Buffer) => void;
  /** Gets all of stderr as it comes. */
  readonly onStderr?: (chunk: Buffer) => void;
}

export interface ExecResult {
  /** Exit code, or null when a signal ended the child. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last 64 KiB of each stream. */
  readonly stdout: string;
  readonly stderr: string;
  /** True when our deadline ended the child. */
  readonly timedOut: boolean;
}

const outputLimit = 64 * 1024;

/** The environment that children get: a search path, a home and the C locale, so that messages can be recognised. */
export function childEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: process.env.HOME ?? '/',
    LC_ALL: 'C',
    ...extra,
  };
}

/**
 * Runs `argv` to its end. Resolves whatever the exit code is; rejects when the program cannot be started, or with the
 * signal's reason after an abort. The child is always gone when the promise settles.
 */
export async function exec(argv: readonly [string, ...string[]], options: ExecOptions): Promise<ExecResult> {
  options.signal?.throwIfAborted();
  const [file, ...args] = argv;
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: options.env ?? childEnvironment(),
    detached: options.group === true,
    stdio: ['pipe', 'pipe', 'pipe', ...(options.onChannel ? (['pipe'] as const) : [])],
  });
  const stdout = collectTail(child.stdout);
  if (options.onStdout) child.stdout.on('data', options.onStdout);
  const stderr = collectTail(child.stderr);
  if (options.onStderr) child.stderr.on('data', options.onStderr);
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  if (options.onChannel) {
    // The fourth entry of stdio is a socket pair, which Node types no closer than "a stream".
    const channel = child.stdio[3] as unknown as Duplex;
    channel.on('error', () => {});
    options.onChannel(channel);
  }
  let timedOut = false;
  const stop = endGently(child, options.killAfterMs ?? 5000, options.group === true);
  const deadline = setTimeout(() => {
    timedOut = true;
    stop();
  }, options.timeoutMs);
  options.signal?.addEventListener('abort', stop, { once: true });
  try {
    const { code, signal } = await ended(child);
    options.signal?.throwIfAborted();
    return { code, signal, stdout: stdout(), stderr: stderr(), timedOut };
  } finally {
    clearTimeout(deadline);
    options.signal?.removeEventListener('abort', stop);
  }
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
}

function endGently(child: ChildProcess, killAfterMs: number, group: boolean): () => void {
  const kill = (signal: NodeJS.Signals): void => {
    if (group) killGroup(child, signal);
    else child.kill(signal);
  };
  return () => {
    kill('SIGTERM');
    const timer = setTimeout(() => {
      kill('SIGKILL');
      // Who has left the group may hold them open for ever.
      if (group) for (const stream of [child.stdout, child.stderr]) stream?.destroy();
    }, killAfterMs);
    timer.unref();
    child.once('close', () => clearTimeout(timer));
  };
}

/** Of a leader that has ended, others of the group may still run. */
function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

function collectTail(stream: NodeJS.ReadableStream): () => string {
  let chunks: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length > 2 * outputLimit) {
      chunks = [Buffer.concat(chunks).subarray(-outputLimit)];
      length = outputLimit;
    }
  });
  return () => Buffer.concat(chunks).subarray(-outputLimit).toString('utf8');
}
