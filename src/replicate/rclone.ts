/** The rclone transport: object stores and whatever else rclone reaches, where a file can be replaced in one step; each call is a few runs of rclone. */
import { lstat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, posix } from 'node:path';
import { messageOf, TransportError } from '../errors.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import { escapeText } from '../system/log.ts';
import {
  below,
  byDirectory,
  isListable,
  parseFeatures,
  parseList,
  type RemoteFeatures,
  withoutRepeats,
} from './rclone-plan.ts';
import { type RcloneRequest, type RcloneRun, runRclone } from './rclone-run.ts';
import { stageOf } from './rclone-stage.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import { bytesOf, type PushFile, type Transport, type TransportOptions, type Wave } from './transport.ts';

export interface RcloneTransportOptions {
  /** `NAME:PATH`; the directory or bucket must exist. */
  readonly remote: string;
  readonly configFile: string;
  /** `auto`: what rclone says of the remote decides; a remote of which nothing is known is refused. */
  readonly replace: 'auto' | 'put' | 'rename';
  readonly clock?: Clock;
  /** A call without any progress for this long ends in `timeout`, default 60 s. */
  readonly stallMs?: number;
  /** rclone keeps to this rate by itself; null: to none. */
  readonly bytesPerSecond?: number | null;
}

const fromNames = ['--files-from-raw', '-', '--no-traverse'];
/** What is put has been compared already, and a rename is to replace: rclone would delete the old file first. */
const always = '--no-check-dest';
const atOnce = ['--transfers', '8', '--checkers', '8'];
const listingLimit = 64 * 1024 * 1024;
const cleaningMs = 30_000;

/** What one call works with. */
interface Call {
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
}

export function createRcloneTransport(options: RcloneTransportOptions): Transport {
  const { remote, configFile, clock = systemClock, stallMs = 60_000, bytesPerSecond = null } = options;
  const setup = { configFile, stallMs, bytesPerSecond };
  const stage = stageOf(hostname(), configFile);
  let known: RemoteFeatures | null = null;
  /** What an earlier put left is being removed; the next one would lose its files to that. */
  let cleaning: Promise<unknown> = Promise.resolve();

  async function call<T>(
    { signal, onBytes }: TransportOptions,
    work: (call: Call) => Promise<T>,
    toMove = 0,
  ): Promise<T> {
    const watch = { clock, stallMs, deadlineMs: deadlineFor(toMove), signal, onStall: () => {} };
    return withStallWatch(watch, async (inner, alive) =>
      work({
        signal: inner,
        onBytes: (bytes) => {
          alive();
          if (bytes > 0) onBytes?.(bytes);
        },
      }),
    );
  }

  function run(one: Call, request: Omit<RcloneRequest, 'signal' | 'timeoutMs'>, bytes = 0): Promise<RcloneRun> {
    return runRclone(setup, { onBytes: one.onBytes, ...request, signal: one.signal, timeoutMs: deadlineFor(bytes) });
  }

  async function features(one: Call): Promise<RemoteFeatures> {
    if (known) return known;
    const { stdout } = await run(one, { args: ['backend', 'features', remote] });
    const read = parseFeatures(stdout);
    if (!read) throw new TransportError('protocol', 'permanent', `rclone does not tell what ${remote} can do`);
    const replaces = options.replace === 'auto' ? read.replaces : options.replace;
    known = { ...read, replaces };
    return known;
  }

  /** Copies `files` to `directory` of the mirror. */
  async function copy(one: Call, sourceRoot: string, files: Wave, directory: string): Promise<void> {
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const args = ['copy', sourceRoot, below(remote, directory), ...fromNames, always, ...atOnce] as const;
    const { stats } = await run(one, { args: [...args], names: files.map((file) => file.path) }, bytes);
    // What is not there rclone leaves out without a word.
    requireAll(stats.transfers, files.length, 'sent');
  }

  /** Gives what lies on the stage its name, one directory after the other. */
  async function unveil(given: Call, wave: Wave, renameArgs: readonly string[]): Promise<void> {
    // rclone counts what it renames as sent.
    const one: Call = { ...given, onBytes: () => given.onBytes(0) };
    for (const [directory, files] of byDirectory(wave)) {
      one.signal.throwIfAborted();
      if (directory === '.') {
        // The stage lies in the root, and rclone moves nothing into what contains it; single files it does.
        for (const { path } of files) {
          const args = [
            'moveto',
            below(remote, `${stage}/${path}`),
            below(remote, path),
            always,
            ...renameArgs,
          ] as const;
          requireAll((await run(one, { args: [...args] })).stats.renames, 1, 'renamed');
        }
        continue;
      }
      const [from, to] = [below(remote, `${stage}/${directory}`), below(remote, directory)];
      const args = ['move', from, to, ...fromNames, always, ...atOnce, ...renameArgs] as const;
      const names = files.map((file) => posix.basename(file.path));
      requireAll((await run(one, { args: [...args], names })).stats.renames, files.length, 'renamed');
    }
  }

  /** Removes the stage; one that is not there is no error, and whatever else goes wrong the next put meets again. */
  function clean(): void {
    const purged = runRclone(setup, { args: ['purge', below(remote, stage)], timeoutMs: cleaningMs });
    cleaning = Promise.allSettled([purged]);
  }

  async function put(one: Call, sourceRoot: string, waves: readonly Wave[]): Promise<void> {
    await cleaning;
    const { replaces, renameArgs } = await features(one);
    if (replaces === null) throw cannotReplace(remote);
    for (const file of waves.flat()) await requireSource(sourceRoot, file, one.signal);
    // rclone would make a root that is missing, for instance under the mount point of a lost disk.
    await run(one, { args: ['lsjson', '--dirs-only', '--no-modtime', '--no-mimetype', remote] });
    if (replaces === 'put') {
      for (const wave of waves) await copy(one, sourceRoot, wave, '');
      return;
    }
    try {
      await copy(one, sourceRoot, waves.flat(), stage);
      for (const wave of waves) await unveil(one, wave, renameArgs);
    } finally {
      clean();
    }
    await cleaning;
  }

  return {
    list: (directory, callOptions) =>
      call(callOptions, async (one) => {
        const { keepsTimes } = await features(one);
        const chunks: Buffer[] = [];
        let length = 0;
        const onStdout = (chunk: Buffer): void => {
          one.onBytes(0);
          length += chunk.length;
          if (length <= listingLimit) chunks.push(chunk);
        };
        const args = ['lsjson', '--files-only', '--no-mimetype', below(remote, directory)] as const;
        // 3: the directory is not there.
        const { code } = await run(one, { args: [...args], onStdout, accept: [3] });
        if (code === 3) return new Map();
        const found = length > listingLimit ? null : parseList(Buffer.concat(chunks).toString('utf8'), keepsTimes);
        if (!found) throw new TransportError('protocol', 'permanent', `${directory}: not a listing, or too long a one`);
        return found;
      }),
    put: (sourceRoot, waves, callOptions) =>
      call(
        callOptions,
        async (one) => {
          const filled = withoutRepeats(waves);
          requireListable(filled.flat().map((file) => file.path));
          if (filled.length > 0) await put(one, sourceRoot, filled);
        },
        bytesOf(waves),
      ),
    remove: (paths, callOptions) =>
      call(callOptions, async (one) => {
        requireListable(paths);
        if (paths.length > 0) await run(one, { args: ['delete', remote, ...fromNames, ...atOnce], names: paths });
      }),
    close: async () => {
      await cleaning;
    },
  };
}

function requireAll(count: number, expected: number, what: string): void {
  if (count >= expected) return;
  const message = `rclone: ${count} of ${expected} files were ${what}: the next try plans anew`;
  throw new TransportError('partial', 'retryable', message);
}

function requireListable(paths: readonly string[]): void {
  const bad = paths.find((path) => !isListable(path));
  if (bad === undefined) return;
  throw new TransportError('protocol', 'permanent', escapeText(`${bad}: rclone takes no name with a line break`));
}

async function requireSource(sourceRoot: string, file: PushFile, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const changed = (why: string): TransportError =>
    new TransportError('vanished', 'retryable', escapeText(`${file.path}: ${why}: the next try plans anew`));
  const facts = await lstat(join(sourceRoot, file.path)).catch((error: unknown) => {
    throw changed(messageOf(error));
  });
  if (!facts.isFile() || facts.size !== file.size)
    throw changed(`it has ${facts.size} bytes, expected a file of ${file.size}`);
}

/** What a remote is refused with of which nothing is known. */
export function cannotReplace(remote: string): TransportError {
  const message = `${remote}: it is not known how to replace a file there without a moment in which it is half there: use a transport of our own (sftp), or say with replace: put or rename what its server does in one step`;
  return new TransportError('option_refused', 'permanent', escapeText(message));
}
