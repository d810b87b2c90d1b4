/** The rsync transport: each call is a run of rsync, or rrsync, at the mirror over the warm connection. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { errnoOf, TransportError } from '../errors.ts';
import { escapeText } from '../system/log.ts';
import { parseListing } from './rsync-listing.ts';
import { createRsyncRunner, fromNames, saidBy } from './rsync-run.ts';
import type { SplicedResult } from './rsync-splice.ts';
import type { SshTransportOptions } from './ssh-options.ts';
import { bytesOf, type PutOptions, type Transport, type TransportOptions, type Wave } from './transport.ts';

/**
 * Up to this many bytes a wave is sent by us, and contents are compared; above, by an rsync of ours, and files of the same size
 * and second count as equal, so that a comparison of a whole tree reads no file. Indexes are a wave of their own and stay below.
 */
const compareContentsBelow = 64 * 1024 * 1024;
/** A listing longer than this is no package directory. */
const listingLimit = 64 * 1024 * 1024;

/**
 * After a power cut at the mirror its indexes name only what is there, and nothing that was confirmed is gone, where names reach
 * the disk in the order of their changes (ext4, xfs) and its rsync knows --fsync (3.2.4). A removal may be undone.
 * `list` needs an account that may read: behind `rrsync -wo` it is refused (`option_refused`, permanent); then put everything,
 * rsync itself leaves out what is there. `remove` is refused behind `rrsync -no-del`. rrsync lets in one run at a time: a
 * second one is `busy`. Symbolic links to directories are followed where rsync at the mirror does; rrsync confines them to its
 * directory. Throws TypeError for a target without a valid host key pin.
 */
export function createRsyncTransport(options: SshTransportOptions): Transport {
  const { root, at, run, send: transfer, check, close } = createRsyncRunner(options);
  /** False once the mirror's rsync has turned out to be older than 3.2.4. */
  let fsync = options.fsync ?? true;

  async function put(sourceRoot: string, waves: readonly Wave[], callOptions: PutOptions): Promise<void> {
    const { gate, ...ungated } = callOptions;
    const send = async (durably: boolean): Promise<void> => {
      let small: Wave[] = [];
      for (const [n, wave] of waves.entries()) {
        const isLast = n === waves.length - 1;
        const isLarge = bytesOf([wave]) > compareContentsBelow;
        if (!isLarge) small.push(wave);
        if (small.length > 0 && (isLarge || isLast)) {
          const sent = small;
          small = [];
          requireTaken(
            sent,
            await transfer(isLarge ? ungated : callOptions, { sourceRoot, waves: sent, fsync: durably }),
          );
        }
        if (!isLarge) continue;
        if (isLast) await gate;
        await putLarge(sourceRoot, wave, ungated, durably, callOptions.anew === true);
      }
      const last = durably ? lastSync(waves) : [];
      if (bytesOf([last]) > compareContentsBelow) await putLarge(sourceRoot, last, ungated, true, false);
    };
    try {
      await send(fsync);
    } catch (error) {
      if (!fsync || !(error instanceof TransportError) || error.reason !== 'option_refused') throw error;
      await send(false);
      fsync = false;
    }
  }

  /** An rsync of ours hashes beside us what is much. */
  function putLarge(
    cwd: string,
    wave: Wave,
    callOptions: TransportOptions,
    durably: boolean,
    anew: boolean,
  ): Promise<void> {
    const given = ['--times', '--perms', '--chmod=F644', ...(anew ? ['--ignore-times'] : [])];
    return run(callOptions, {
      args: [...fromNames, ...given, ...(durably ? ['--fsync'] : []), './', root],
      cwd,
      input: wave.map((file) => `${file.path}\0`).join(''),
      bytes: bytesOf([wave]),
    });
  }

  return {
    list: async (directory, callOptions) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const onStdout = (chunk: Buffer): void => {
        length += chunk.length;
        if (length <= listingLimit) chunks.push(chunk);
      };
      await run(
        callOptions,
        { args: ['--list-only', '--dirs', '--no-h', '--8-bit-output', `${at(directory)}/`], cwd: '/', onStdout },
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
        const args = [`--max-size=${maxBytes}`, at(file), './'];
        await run(callOptions, { args, cwd: to }, isAbsentFile);
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
        await run(callOptions, {
          args: [...fromNames, '--existing', '--delete-missing-args', './', root],
          cwd: empty,
          input: paths.map((one) => `${one}\0`).join(''),
        });
      } finally {
        await rm(empty, { recursive: true, force: true });
      }
    },
    check,
    close,
  };
}

/**
 * rsync syncs a file before it renames it, and no directory. One file put once more has a sync after every rename that counts;
 * it takes them along where the file system keeps the order of names (ext4, xfs). Its own last rename changes no byte.
 */
function lastSync(waves: readonly Wave[]): Wave {
  const files = waves.at(-1) ?? [];
  return files.length === 0 ? [] : [files.reduce((least, file) => (file.size < least.size ? file : least))];
}

/**
 * Throws TransportError when the mirror passed over an index: rrsync -no-overwrite leaves out what is there, and ends well.
 * Packages are not looked at: a wave of them may tell more than is kept, and none matters without its index.
 */
function requireTaken(waves: readonly Wave[], taken: ReadonlySet<string>): void {
  const left = waves.flat().find(({ path }) => !path.endsWith('.apk') && !taken.has(path));
  if (left === undefined) return;
  const message = `the account does not replace ${left.path}: take -no-overwrite from its authorized_keys line`;
  throw new TransportError('option_refused', 'permanent', escapeText(message));
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
