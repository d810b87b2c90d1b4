/** Tries a mirror as far as a push would come without changing anything there: the way in, the directory, what the account allows. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { TransportConfig } from '../config/mirror-schema.ts';
import { errnoOf, messageOf, TransportError } from '../errors.ts';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';
import { exec } from '../system/exec.ts';
import { escapeText } from '../system/log.ts';
import { SshConnection } from '../system/ssh.ts';
import { createDirectoryTransport, stillHung } from './directory.ts';
import { localFault } from './faults.ts';
import { parseFeatures } from './rclone-plan.ts';
import { runRclone } from './rclone-run.ts';
import { cannotReplace } from './rclone.ts';
import { createRsyncRunner, fromNames } from './rsync-run.ts';
import { createSftpCaller } from './sftp-call.ts';
import { explainFailure } from './sftp-failure.ts';
import { noRename } from './sftp.ts';
import type { SshTransportOptions } from './ssh-options.ts';

/** What a trial has found; `doubts` are what a push can do without, each with what to do about it. */
export interface Trial {
  /** What worked, as the end of a sentence about the mirror. */
  readonly worked: string;
  readonly doubts: readonly { readonly found: string; readonly remedy: string }[];
}

export interface TrialOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The trial ends after so long in `timeout`, whatever the mirror does. */
  readonly deadlineMs: number;
}

/** A push of the daemon holds the lock of rrsync for a moment: only one that stays is worth a word. */
const busyTries = 4;
const busyPauseMs = 700;

/** Writes nothing and starts nothing at the mirror. Throws TransportError, or the signal's reason once aborted. */
export async function tryMirror(config: TransportConfig, { clock, signal, deadlineMs }: TrialOptions): Promise<Trial> {
  const deadline = AbortSignal.timeout(deadlineMs);
  const both = AbortSignal.any([signal, deadline]);
  try {
    for (let left = busyTries - 1; ; left--) {
      try {
        return await abortable(trialOf(config, both, deadlineMs), both);
      } catch (error) {
        if (left === 0 || !(error instanceof TransportError && error.reason === 'busy')) throw error;
        await clock.sleep(busyPauseMs, { signal: both });
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    const message = `no end within ${deadlineMs / 1000} s: is the host up, does a firewall drop what we send?`;
    throw new TransportError('timeout', 'retryable', message, { cause: error });
  }
}

function trialOf(config: TransportConfig, signal: AbortSignal, deadlineMs: number): Promise<Trial> {
  switch (config.type) {
    case 'sftp':
      return trySftp(sshOptions(config), signal);
    case 'rsync':
      return tryRsync(sshOptions(config), signal);
    case 'trigger':
      return tryTrigger(config, signal);
    case 'directory':
      return tryDirectory(config.path, signal, deadlineMs);
    case 'rclone':
      return tryRclone(config, signal, deadlineMs);
    case 'pull':
      return Promise.resolve({ worked: 'it pulls by itself: there is no account to try', doubts: [] });
    default:
      return config satisfies never;
  }
}

function sshOptions(config: Extract<TransportConfig, { type: 'rsync' | 'sftp' }>): SshTransportOptions {
  const { host, port, user, identity, hostKeys, path, stallMs } = config;
  return { target: { host, port, user, identity, hostKeys }, path, stallMs, fsync: config.fsync === 'always' };
}

/** S_IFMT and S_IFDIR of stat(2). */
const typeMask = 0o170000;
const directoryType = 0o040000;

async function trySftp(options: SshTransportOptions, signal: AbortSignal): Promise<Trial> {
  const { path, target } = options;
  const caller = createSftpCaller(options);
  try {
    return await caller.call({ signal }, async (session) => {
      const { permissions = directoryType } = await session.stat(path);
      if ((permissions & typeMask) !== directoryType)
        throw new TransportError('not_found', 'permanent', escapeText(`${path} is no directory: is path right?`));
      await session.close(await session.openDirectory(path));
      if (!session.extensions.has('posix-rename@openssh.com')) throw noRename(target.host);
      if (!session.extensions.has('statvfs@openssh.com')) return { worked: `lets us list ${path}`, doubts: [] };
      const { freeBytes, freeFiles, readOnly } = await session.space(path);
      if (readOnly) {
        const message = 'the file system of the mirror is read-only: its admin must look at it';
        throw new TransportError('read_only', 'permanent', message);
      }
      if (freeBytes === 0 || freeFiles === 0) {
        const message = 'the disk of the mirror is full: its admin must make room';
        throw new TransportError('disk_full', 'retryable', message);
      }
      return { worked: `lets us list ${path}, ${(freeBytes / 2 ** 30).toFixed(1)} GiB free`, doubts: [] };
    });
  } finally {
    await caller.close();
  }
}

/**
 * Dry runs of what a push does, with no file: rrsync judges their options as it would those of a real one. A listing is the
 * only thing that tells of a plain account whether its directory is there; one that may only write refuses it.
 */
async function tryRsync(options: SshTransportOptions, signal: AbortSignal): Promise<Trial> {
  const { root, at, run, close } = createRsyncRunner(options);
  const dry = ['--dry-run', ...fromNames];
  const runOnce = (args: readonly string[], cwd = '/'): Promise<void> => run({ signal }, { args, cwd, input: '' });
  const isAllowed = async (args: readonly string[]): Promise<boolean> => {
    try {
      await runOnce(args);
      return true;
    } catch (error) {
      if (error instanceof TransportError && error.reason === 'option_refused') return false;
      throw error;
    }
  };
  const put = [...dry, '--times', '--perms', '--chmod=F644', '--ignore-times', './', root];
  try {
    const doubts: { found: string; remedy: string }[] = [];
    const durable = options.fsync === true && (await isAllowed(['--fsync', ...put]));
    if (!durable) await runOnce(put);
    if (options.fsync === true && !durable)
      doubts.push({
        found: 'its rsync does not know --fsync, so a power cut there may tear files',
        remedy: 'ask its admin for rsync 3.2.4 or newer',
      });
    if (!(await isAllowed([...dry, '--existing', '--delete-missing-args', './', root])))
      doubts.push({
        found: 'the account may not delete, so packages that left stay there for ever',
        remedy: 'ask its admin to take -no-del from the authorized_keys line',
      });
    const reads = await isAllowed(['--list-only', '--dirs', `${at('.')}/`]);
    return { worked: `lets us write to ${options.path}${reads ? ' and list it' : ''} (dry run)`, doubts };
  } finally {
    await close();
  }
}

/** Nothing is asked for: whatever it was, a forced command would begin to pull. */
async function tryTrigger(target: Extract<TransportConfig, { type: 'trigger' }>, signal: AbortSignal): Promise<Trial> {
  const connection = new SshConnection(target);
  try {
    await connection.connect(signal);
    return { worked: 'lets us in (its command was not run)', doubts: [] };
  } catch (error) {
    signal.throwIfAborted();
    throw await explainFailure(error, undefined, '');
  } finally {
    await connection.close();
  }
}

/** A file system that hangs would keep our threads, and with them the process: a child finds out first. */
async function tryDirectory(path: string, signal: AbortSignal, deadlineMs: number): Promise<Trial> {
  const { timedOut } = await exec(['stat', '--', path], { timeoutMs: deadlineMs / 2, killAfterMs: 100, signal });
  if (timedOut) throw stillHung(path);
  const transport = createDirectoryTransport({ path });
  await transport.check?.({ signal });
  try {
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const { reason, kind, message } = localFault(errnoOf(error), escapeText(messageOf(error)));
    throw new TransportError(reason, kind, message, { cause: error });
  }
  return { worked: `${path} is there and may be written`, doubts: [] };
}

async function tryRclone(
  { configFile, remote, replace, stallMs }: Extract<TransportConfig, { type: 'rclone' }>,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<Trial> {
  const setup = { configFile, stallMs, bytesPerSecond: null };
  const features = await runRclone(setup, { args: ['backend', 'features', remote], timeoutMs, signal });
  const read = parseFeatures(features.stdout);
  if (!read)
    throw new TransportError('protocol', 'permanent', `rclone does not tell what ${escapeText(remote)} can do`);
  if (replace === 'auto' && read.replaces === null) throw cannotReplace(remote);
  const args = ['lsjson', '--dirs-only', '--no-modtime', '--no-mimetype', remote] as const;
  await runRclone(setup, { args: [...args], timeoutMs, signal });
  return { worked: `lets us list ${remote}`, doubts: [] };
}
