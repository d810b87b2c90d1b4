/** The rsync transport: each call is one run of the local rsync over the warm connection, against rrsync or plain rsync at the mirror. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { errnoOf, messageOf, TransportError } from '../errors.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import type { ExecResult } from '../system/exec.ts';
import { escapeText } from '../system/log.ts';
import { SshConnection, type SshTarget } from '../system/ssh.ts';
import { type Fault, rsyncFault, sshFault } from './faults.ts';
import { parseListing, unescapeName } from './rsync-listing.ts';
import { dropEarly, type EarlyRemote, runSpliced, type SplicedResult, startEarly } from './rsync-splice.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import { bytesOf, type Transport, type TransportOptions, type Wave } from './transport.ts';

export interface RsyncTransportOptions {
  readonly target: SshTarget;
  /** The mirror's root as the account sees it: `/` is the directory of rrsync, or a path on a plain account. It must exist. */
  readonly path: string;
  readonly clock?: Clock;
  /** A call without any progress for this long ends in `timeout`, default 60 s. */
  readonly stallMs?: number;
  /** A call may take this long in all, or longer when it moves much (see stall.ts); default 10 min. */
  readonly deadlineMs?: number;
  /** Sync each file before it gets its name, so that a power cut at the mirror tears nothing; default true. */
  readonly fsync?: boolean;
  /** Deadline for connecting, default 15 s. */
  readonly connectTimeoutMs?: number;
}

/**
 * Up to this many bytes a put compares contents (`--ignore-times`: the delta algorithm then sends what differs); above, files
 * of the same size and second count as equal, so that a comparison of a whole tree reads no file. Indexes are put by
 * themselves and stay below.
 */
const compareContentsBelow = 64 * 1024 * 1024;
/** A listing longer than this is no package directory. */
const listingLimit = 64 * 1024 * 1024;
/** One run of rsync. */
interface Request {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly input?: string;
  readonly bytes?: number;
  readonly onStdout?: (chunk: Buffer) => void;
  /** Looks at what a good run has told. Throws TransportError when it was not good after all. */
  readonly inspect?: (stdout: string) => void;
}

const fromNames = ['--files-from=-', '--from0', '--no-implied-dirs'];

/**
 * `list` needs an account that may read: behind `rrsync -wo` it is refused (`option_refused`, permanent); then put everything,
 * rsync itself leaves out what is there. `remove` is refused behind `rrsync -no-del`. rrsync lets in one run at a time: a
 * second one is `busy`. Symbolic links to directories are followed where rsync at the mirror does; rrsync confines them to its
 * directory. Throws TypeError for a target without a valid host key pin.
 */
export function createRsyncTransport(options: RsyncTransportOptions): Transport {
  const { target, path, clock = systemClock, stallMs = 60_000, connectTimeoutMs } = options;
  const connection = new SshConnection(target, connectTimeoutMs === undefined ? {} : { connectTimeoutMs });
  const common = [`--timeout=${Math.max(1, Math.ceil(stallMs / 1000))}`];
  /** `ROOT/.` and not `ROOT`: rsync would make a root that is missing, for instance under the mount point of a lost disk. */
  const root = `mirror:${path === '/' ? '' : path.replace(/\/+$/, '')}/.`;
  const known = new Map<string, string>();
  /** False once the mirror's rsync has turned out to be older than 3.2.4. */
  let fsync = options.fsync ?? true;

  /** Runs one rsync after the other. */
  async function run(
    callOptions: TransportOptions,
    requests: readonly Request[],
    accept: (result: SplicedResult) => boolean,
  ): Promise<void> {
    const { signal, onBytes } = callOptions;
    const toMove = requests.reduce((sum, request) => sum + (request.bytes ?? 0), 0);
    const deadlineMs = deadlineFor(toMove, options.deadlineMs);
    const watch = { clock, stallMs, deadlineMs, signal, onStall: (error: Error) => connection.reset(error) };
    await withStallWatch(watch, async (inner, alive) => {
      const start = (request: Request, early: EarlyRemote | undefined, onLocalEnd: (result: ExecResult) => void) =>
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
          if (index === requests.length - 1) await callOptions.gate;
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

  async function put(sourceRoot: string, waves: readonly Wave[], callOptions: TransportOptions): Promise<void> {
    const send = (durably: boolean): Promise<void> =>
      run(
        callOptions,
        waves.map((wave) => {
          const bytes = bytesOf([wave]);
          const compares = bytes <= compareContentsBelow;
          return {
            args: [
              ...fromNames,
              '--times',
              '--perms',
              '--chmod=F644',
              ...(compares ? ['--ignore-times', '--out-format=%n', '--8-bit-output'] : []),
              ...(durably ? ['--fsync'] : []),
              './',
              root,
            ],
            cwd: sourceRoot,
            input: wave.map((file) => `${file.path}\0`).join(''),
            bytes,
            ...(compares ? { inspect: (stdout: string) => requireTaken(wave, stdout) } : {}),
          };
        }),
        () => false,
      );
    try {
      await send(fsync);
    } catch (error) {
      if (!fsync || !(error instanceof TransportError) || error.reason !== 'option_refused') throw error;
      await send(false);
      fsync = false;
    }
  }

  return {
    list: async (directory, callOptions) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const onStdout = (chunk: Buffer): void => {
        length += chunk.length;
        if (length <= listingLimit) chunks.push(chunk);
      };
      const where = `mirror:${posix.join(path, directory)}/`;
      await run(
        callOptions,
        [{ args: ['--list-only', '--dirs', '--no-h', '--8-bit-output', where], cwd: '/', onStdout }],
        isAbsentDirectory,
      );
      if (length > listingLimit) throw new TransportError('protocol', 'permanent', `${directory}: listing too long`);
      return parseListing(Buffer.concat(chunks));
    },
    put: async (sourceRoot, waves, callOptions) => {
      const filled = waves.filter((wave) => wave.length > 0);
      if (filled.length > 0) await put(sourceRoot, filled, callOptions);
    },
    // One more run of rsync, and rrsync lets in one at a time.
    readIsDear: true,
    read: async (file, maxBytes, callOptions) => {
      const to = await mkdtemp(join(tmpdir(), 'lockstepd-read-'));
      try {
        const args = [`--max-size=${maxBytes}`, `mirror:${posix.join(path, file)}`, './'];
        await run(callOptions, [{ args, cwd: to }], isAbsentFile);
        return await readFile(join(to, posix.basename(file)));
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return null;
        throw error;
      } finally {
        await rm(to, { recursive: true, force: true });
      }
    },
    remove: async (paths, callOptions) => {
      if (paths.length === 0) return;
      // What is named and missing from this source of empty directories is deleted at the mirror; `--existing` keeps rsync
      // from making a directory that the mirror has not.
      const empty = await mkdtemp(join(tmpdir(), 'lockstepd-empty-'));
      try {
        for (const directory of new Set(paths.map((one) => posix.dirname(one)))) {
          await mkdir(join(empty, directory), { recursive: true });
        }
        await run(
          callOptions,
          [
            {
              args: [...fromNames, '--existing', '--delete-missing-args', './', root],
              cwd: empty,
              input: paths.map((one) => `${one}\0`).join(''),
            },
          ],
          () => false,
        );
      } finally {
        await rm(empty, { recursive: true, force: true });
      }
    },
    close: () => connection.close(),
  };
}

/**
 * Throws TransportError when the mirror passed over an index that it was told to compare: rrsync -no-overwrite leaves out what
 * is there, and ends well. Packages are not looked at: a wave of them may tell more than is kept, and none matters without
 * its index.
 */
function requireTaken(wave: Wave, stdout: string): void {
  const lines = Buffer.from(stdout).toString('latin1').split('\n');
  const taken = new Set(lines.map(unescapeName));
  const left = wave.find(({ path }) => !path.endsWith('.apk') && !taken.has(path));
  if (left === undefined) return;
  const message = `the account does not replace ${left.path}: take -no-overwrite from its authorized_keys line`;
  throw new TransportError('option_refused', 'permanent', escapeText(message));
}

/** What fails at the mirror is often known only to the rsync there: ssh would hand its exit code on, so must we. */
function isGood({ code, remoteCode }: SplicedResult): boolean {
  return code === 0 && remoteCode === 0;
}

/** rrsync 3.5 looks for the directory itself and ends with 12; elsewhere rsync reports it and ends with 23. */
function isAbsentDirectory(result: SplicedResult): boolean {
  const said = saidBy(result);
  const codes = [result.code, result.remoteCode];
  return (
    (codes.includes(23) && /change_dir ".*" failed: No such file or directory/.test(said)) ||
    (codes.includes(12) && /rrsync error: post-realpath open failed .*No such file or directory/.test(said))
  );
}

/** What is read is not there; rrsync 3.5 looks for its directory itself. */
function isAbsentFile(result: SplicedResult): boolean {
  const partial = [result.code, result.remoteCode].includes(23);
  return (
    isAbsentDirectory(result) ||
    (partial && /(?:link_stat|change_dir) ".*" failed: No such file or directory/.test(saidBy(result)))
  );
}

/** The stderr of both sides. */
function saidBy({ stderr, remoteStderr }: SplicedResult): string {
  return [remoteStderr, stderr].join('\n').trim();
}

function failureOf(result: SplicedResult): TransportError {
  const { failure, code, remoteCode, timedOut } = result;
  if (failure instanceof TransportError) return failure;
  if (timedOut)
    return new TransportError('timeout', 'retryable', 'rsync took longer than its deadline: is the link too slow?');
  const stderr = escapeText(saidBy(result));
  const fault: Fault = failure
    ? sshFault({ code: errnoOf(failure), level: levelOf(failure), message: escapeText(messageOf(failure)) })
    : rsyncFault({ code, remoteCode, stderr });
  return new TransportError(fault.reason, fault.kind, fault.message, failure ? { cause: failure } : undefined);
}

function levelOf(error: Error): string | undefined {
  return 'level' in error && typeof error.level === 'string' ? error.level : undefined;
}
