/** Runs rsyncs against one mirror over a warm connection, one after the other, and tells failures by what both ends said. */
import { posix } from 'node:path';
import { errnoOf, messageOf, TransportError } from '../errors.ts';
import { abortable } from '../system/abortable.ts';
import { systemClock } from '../system/clock.ts';
import type { ExecResult } from '../system/exec.ts';
import { escapeText } from '../system/log.ts';
import { SshConnection } from '../system/ssh.ts';
import { rsyncFault, sshFault } from './faults.ts';
import { dropEarly, type EarlyRemote, runSpliced, type SplicedResult, startEarly } from './rsync-splice.ts';
import type { SshTransportOptions } from './ssh-options.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import type { TransportOptions } from './transport.ts';

/** Files are named on stdin, each followed by a zero byte. */
export const fromNames = ['--files-from=-', '--from0', '--no-implied-dirs'];

/** One run of rsync. */
interface RsyncRequest {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly input?: string;
  readonly bytes?: number;
  /** Waits for the gate of the call. */
  readonly gated?: boolean;
  readonly onStdout?: (chunk: Buffer) => void;
  /** Looks at what a good run has told. Throws TransportError when it was not good after all. */
  readonly inspect?: (stdout: string) => void;
}

export interface RsyncRunner {
  /** The mirror's root as an argument of rsync. */
  readonly root: string;
  /** The argument for what lies there under a path. */
  readonly at: (path: string) => string;
  /** Throws a TransportError for the first run that fails in a way that `accept` does not take, or the signal's reason. */
  readonly run: (
    options: TransportOptions,
    requests: readonly RsyncRequest[],
    accept?: (result: SplicedResult) => boolean,
  ) => Promise<void>;
  /** Throws a TransportError when the account cannot be reached. */
  readonly check: (options: TransportOptions) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Throws TypeError for a target without a valid host key pin. */
export function createRsyncRunner(options: SshTransportOptions): RsyncRunner {
  const { target, path, clock = systemClock, stallMs = 60_000, connectTimeoutMs } = options;
  const connection = new SshConnection(target, connectTimeoutMs === undefined ? {} : { connectTimeoutMs });
  // Our end of its remote shell is cat, which gives up on a pipe that does not block: with whatever is longer than that pipe.
  const common = [`--timeout=${Math.max(1, Math.ceil(stallMs / 1000))}`, '--blocking-io'];
  /** `ROOT/.` and not `ROOT`: rsync would make a root that is missing, for instance under the mount point of a lost disk. */
  const root = `mirror:${path === '/' ? '' : path.replace(/\/+$/, '')}/.`;
  const known = new Map<string, string>();

  /** Runs one rsync after the other. */
  async function run(
    { gate, onBytes, pace, signal }: TransportOptions,
    requests: readonly RsyncRequest[],
    accept: (result: SplicedResult) => boolean = () => false,
  ): Promise<void> {
    const toMove = requests.reduce((sum, request) => sum + (request.bytes ?? 0), 0);
    const deadlineMs = deadlineFor(toMove, options.deadlineMs);
    const watch = { clock, stallMs, deadlineMs, signal, onStall: (error: Error) => connection.reset(error) };
    await withStallWatch(watch, async (inner, alive) => {
      const start = (request: RsyncRequest, early: EarlyRemote | undefined, onLocalEnd: (result: ExecResult) => void) =>
        runSpliced({
          connection,
          known,
          args: [...common, ...request.args],
          cwd: request.cwd,
          input: request.input ?? '',
          // The watch comes first; this ends an rsync of ours that ignores it.
          timeoutMs: deadlineMs + 5000,
          signal: inner,
          onBytes: (bytes) => {
            alive();
            if (bytes > 0) onBytes?.(bytes);
          },
          ...(request.onStdout ? { onStdout: request.onStdout } : {}),
          early,
          onLocalEnd,
          pace,
        }).catch((error: unknown) => {
          inner.throwIfAborted();
          const message = `rsync cannot be started in ${request.cwd}: is rsync installed, is the directory there? (${messageOf(error)})`;
          throw new TransportError('local', 'retryable', escapeText(message), { cause: error });
        });
      let early: EarlyRemote | undefined;
      try {
        for (const [index, request] of requests.entries()) {
          const next = requests[index + 1];
          const startNext = ({ code }: ExecResult): void => {
            if (next && code === 0)
              early = startEarly({ connection, known, args: [...common, ...next.args], signal: inner });
          };
          if (request.gated === true) await gate;
          const given = early;
          early = undefined;
          let result = await start(request, given, startNext);
          // What was started ahead may have come while the run before still held rrsync's lock.
          if (given && !isGood(result) && failureOf(result).reason === 'busy')
            result = await start(request, undefined, startNext);
          if (!isGood(result) && !accept(result)) throw failureOf(result);
          request.inspect?.(result.stdout);
        }
      } finally {
        dropEarly(early);
      }
    });
  }

  /** rrsync answers `true` with 0 and does nothing, a shell too; whatever another forced command says of it, we were let in. */
  async function check({ signal }: TransportOptions): Promise<void> {
    const watch = {
      clock,
      stallMs,
      deadlineMs: deadlineFor(0, options.deadlineMs),
      signal,
      onStall: (error: Error) => connection.reset(error),
    };
    await withStallWatch(watch, async (inner) => {
      try {
        const remote = await connection.exec('true', inner);
        remote.stderr.resume();
        remote.stream.resume().end();
        await abortable(remote.closed, inner);
      } catch (error) {
        inner.throwIfAborted();
        throw connectionFault(error as Error);
      }
    });
  }

  return { root, at: (one) => `mirror:${posix.join(path, one)}`, run, check, close: () => connection.close() };
}

/** What fails at the mirror is often known only to the rsync there: ssh would hand its exit code on, so must we. */
function isGood({ code, remoteCode }: SplicedResult): boolean {
  return code === 0 && remoteCode === 0;
}

/** The stderr of both sides. */
export function saidBy({ stderr, remoteStderr }: SplicedResult): string {
  return [remoteStderr, stderr].join('\n').trim();
}

function failureOf(result: SplicedResult): TransportError {
  const { failure, code, remoteCode, timedOut } = result;
  if (failure) return connectionFault(failure);
  if (timedOut)
    return new TransportError('timeout', 'retryable', 'rsync took longer than its deadline: is the link too slow?');
  const stderr = escapeText(saidBy(result));
  const fault = rsyncFault({ code, remoteCode, stderr });
  return new TransportError(fault.reason, fault.kind, fault.message);
}

/** What the connection failed of, or a channel of it. */
function connectionFault(failure: Error): TransportError {
  if (failure instanceof TransportError) return failure;
  const { reason, kind, message } = sshFault({
    code: errnoOf(failure),
    level: levelOf(failure),
    message: escapeText(messageOf(failure)),
  });
  return new TransportError(reason, kind, message, { cause: failure });
}

function levelOf(error: Error): string | undefined {
  return 'level' in error && typeof error.level === 'string' ? error.level : undefined;
}
