/** Runs rsync at one mirror over a warm connection, with an rsync of ours or without, and tells failures by what both ends said. */
import { posix } from 'node:path';
import { errnoOf, messageOf, TransportError } from '../errors.ts';
import { abortable } from '../system/abortable.ts';
import { systemClock } from '../system/clock.ts';
import { escapeText } from '../system/log.ts';
import { SshConnection } from '../system/ssh.ts';
import { rsyncFault, sshFault } from './faults.ts';
import { type SendResult, sendFiles } from './rsync-sender.ts';
import { runSpliced, type SplicedResult } from './rsync-splice.ts';
import type { SshTransportOptions } from './ssh-options.ts';
import { deadlineFor, type StallWatch, withStallWatch } from './stall.ts';
import { bytesOf, type TransportOptions, type Wave } from './transport.ts';

/** Files are named on stdin, each followed by a zero byte. */
export const fromNames = ['--files-from=-', '--from0', '--no-implied-dirs'];

/** What a shell at the other side, or rrsync, which reads as one does, would not leave as it is. */
const shellSpecial = /[\s"\\$&;|<>()[\]{}*?'`!#]/g;

/** One run of an rsync of ours. */
interface RsyncRequest {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly input?: string;
  readonly bytes?: number;
  readonly onStdout?: (chunk: Buffer) => void;
}

/** Waves that go to the rsync there without an rsync of ours. */
export interface SendRequest {
  readonly sourceRoot: string;
  readonly waves: readonly Wave[];
  readonly fsync: boolean;
  readonly confirms: boolean;
  readonly lastTwice: boolean;
  /** Files of the same size and second count as equal; else contents are compared. */
  readonly bySize: boolean;
  /** Each file is held against a sum of it; else it goes whole. */
  readonly hashed: boolean;
}

type Sent = Pick<SendResult, 'taken' | 'wavesDone'>;

export interface RsyncRunner {
  /** The mirror's root as an argument of rsync. */
  readonly root: string;
  /** The argument for what lies there under a path. */
  readonly at: (path: string) => string;
  /** Throws a TransportError for a failure that `accept` does not take, or the signal's reason. */
  readonly run: (
    options: TransportOptions,
    request: RsyncRequest,
    accept?: (result: SplicedResult) => boolean,
  ) => Promise<void>;
  /**
   * Returns what was taken, and of how many waves: behind one of which the mirror passed over something none has begun. Throws a
   * TransportError, the signal's reason, or that of the gate.
   */
  readonly send: (options: TransportOptions, request: SendRequest) => Promise<Sent>;
  /** Throws a TransportError when the account cannot be reached. */
  readonly check: (options: TransportOptions) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Throws TypeError for a target without a valid host key pin. */
export function createRsyncRunner(options: SshTransportOptions): RsyncRunner {
  const { target, path, clock = systemClock, stallMs = 60_000, connectTimeoutMs } = options;
  const connection = new SshConnection(target, connectTimeoutMs === undefined ? {} : { connectTimeoutMs });
  // Our end of its remote shell is cat, which gives up on a pipe that does not block: with whatever is longer than that pipe.
  const timeoutSeconds = Math.max(1, Math.ceil(stallMs / 1000));
  const common = [`--timeout=${timeoutSeconds}`, '--blocking-io'];
  /** `ROOT/.` and not `ROOT`: rsync would make a root that is missing, for instance under the mount point of a lost disk. */
  const root = `mirror:${path === '/' ? '' : path.replace(/\/+$/, '')}/.`;
  const known = new Map<string, string>();

  const watchOf = ({ signal, waitedMs }: TransportOptions, bytes: number): StallWatch => ({
    clock,
    waitedMs,
    stallMs,
    deadlineMs: deadlineFor(bytes, options.deadlineMs),
    signal,
    onStall: (error) => connection.reset(error),
  });

  async function run(
    callOptions: TransportOptions,
    request: RsyncRequest,
    accept: (result: SplicedResult) => boolean = () => false,
  ): Promise<void> {
    const watch = watchOf(callOptions, request.bytes ?? 0);
    await withStallWatch(watch, async (inner, alive) => {
      const result = await runSpliced({
        connection,
        known,
        args: [...common, ...request.args],
        cwd: request.cwd,
        input: request.input ?? '',
        // The watch comes first; this ends an rsync of ours that ignores it.
        timeoutMs: watch.deadlineMs + 5000,
        signal: inner,
        onAlive: alive,
        ...(request.onStdout ? { onStdout: request.onStdout } : {}),
      }).catch((error: unknown) => {
        inner.throwIfAborted();
        const message = `rsync cannot be started in ${request.cwd}: is rsync installed, is the directory there? (${messageOf(error)})`;
        throw new TransportError('local', 'retryable', escapeText(message), { cause: error });
      });
      if (!isGood(result) && !accept(result)) throw failureOf(result);
    });
  }

  async function send(callOptions: TransportOptions, { fsync, bySize, ...request }: SendRequest): Promise<Sent> {
    const { gate, onBytes, pace } = callOptions;
    const command = [
      `rsync --server -tp${bySize ? '' : 'I'}Re.LsfxC`,
      `--timeout=${timeoutSeconds}`,
      ...(fsync ? ['--fsync'] : []),
      // It tells of each file that lies under its name, as if we were to remove our own then.
      ...(request.confirms ? ['--remove-source-files'] : []),
      ...(request.hashed ? [] : ['--checksum-choice=none']),
      '--no-implied-dirs .',
      `${path === '/' ? '' : path.replace(/\/+$/, '')}/.`.replaceAll(shellSpecial, '\\$&'),
    ].join(' ');
    return withStallWatch(watchOf(callOptions, bytesOf(request.waves)), async (signal, alive) => {
      const remote = await connection.exec(command, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        throw connectionFault(error as Error);
      });
      const result = await sendFiles({
        ...request,
        remote,
        gate,
        pace,
        clock,
        signal,
        onBytes: (bytes) => {
          alive();
          if (bytes > 0) onBytes?.(bytes);
        },
        timeoutMs: timeoutSeconds * 1000,
      });
      const { code, remoteCode, remoteStderr, said } = result;
      if (code === 0 && remoteCode === 0) return result;
      throw faultOf({ code, remoteCode, said: [remoteStderr, said].join('\n').trim() });
    });
  }

  /** rrsync answers `true` with 0 and does nothing, a shell too; whatever another forced command says of it, we were let in. */
  async function check(callOptions: TransportOptions): Promise<void> {
    await withStallWatch(watchOf(callOptions, 0), async (inner) => {
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

  return { root, at: (one) => `mirror:${posix.join(path, one)}`, run, send, check, close: () => connection.close() };
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
  return faultOf({ code, remoteCode, said: saidBy(result) });
}

function faultOf({ said, ...codes }: { code: number | null; remoteCode: number | null; said: string }): TransportError {
  const { reason, kind, message } = rsyncFault({ ...codes, stderr: escapeText(said) });
  return new TransportError(reason, kind, message);
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
