/** The rsync transport: each call is a run of rsync, or rrsync, at the mirror over the warm connection. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { errnoOf, TransportError } from '../errors.ts';
import { escapeText } from '../system/log.ts';
import { parseListing } from './rsync-listing.ts';
import { createRsyncRunner, fromNames, type SendRequest, saidBy } from './rsync-run.ts';
import type { SplicedResult } from './rsync-splice.ts';
import type { SshTransportOptions } from './ssh-options.ts';
import {
  bytesOf,
  type PushFile,
  type PutOptions,
  type Transport,
  type TransportOptions,
  type Wave,
} from './transport.ts';

/**
 * Up to this many bytes the contents of a wave are compared; above, files of the same size and second count as equal, so that a
 * comparison of a whole tree reads no file, and what differs goes whole. Indexes are a wave of their own and stay below.
 */
const compareContentsBelow = 64 * 1024 * 1024;

/** A run holds a list of its files, and what is asked for of them. */
const filesInARun = 4096;

/** How a run goes: what an account may refuse. */
interface Way {
  /** Before 3.2.4 rsync does not know --fsync. */
  readonly fsync: boolean;
  /** `rrsync -no-del` refuses --remove-source-files: then nobody tells what has arrived, and each wave is a run of its own. */
  readonly confirms: boolean;
}
const allWays: readonly Way[] = [true, false].flatMap((confirms) =>
  [true, false].map((fsync) => ({ fsync, confirms })),
);

const compared = { bySize: false, hashed: true };

/** Each name of the directory there is held against each rule. */
const rulesInARun = 500;

/** A listing longer than this is no package directory. */
const listingLimit = 64 * 1024 * 1024;

/**
 * After a power cut at the mirror its indexes name only what is there, and nothing that was confirmed is gone, where names reach
 * the disk in the order of their changes (ext4, xfs) and its rsync knows --fsync (3.2.4). A removal may be undone until the next put
 * has ended.
 * `list` needs an account that may read: behind `rrsync -wo` it is refused (`option_refused`, permanent); then put everything,
 * rsync itself leaves out what is there. `remove` is refused behind `rrsync -no-del`. rrsync lets in one run at a time: a
 * second one is `busy`. Symbolic links to directories are followed where rsync at the mirror does; rrsync 3.5 confines them to
 * its directory. A put needs rsync 3.0 or newer there. Throws TypeError for a target without a valid host key pin.
 */
export function createRsyncTransport(options: SshTransportOptions): Transport {
  const { root, at, run, send: transfer, check, close } = createRsyncRunner(options);
  /** Those that the account has not refused yet. */
  let ways = allWays.filter(({ fsync }) => !fsync || (options.fsync ?? true));
  /**
   * Whether each file of a large wave is hashed: before 3.1.3 rsync insists on it. What goes whole is guarded by SSH already, and
   * hashing it costs both sides as much as encrypting it.
   */
  let hashing: readonly boolean[] = [false, true];
  let removesByName = true;

  async function put(sourceRoot: string, waves: readonly Wave[], callOptions: PutOptions): Promise<void> {
    const { way, result } = await firstTaken(ways, (one) => send(one, sourceRoot, waves, callOptions));
    ways = ways.slice(ways.indexOf(way));
    requireTaken(result.left);
  }

  /**
   * Waves that are not large go together, where they may. Returns the paths that the mirror passed over: it has ended well, and what
   * is left there is what was there.
   */
  async function send(
    { fsync, confirms }: Way,
    sourceRoot: string,
    waves: readonly Wave[],
    { gate, anew, ...callOptions }: PutOptions,
  ): Promise<{ readonly left: readonly string[] }> {
    const left: string[] = [];
    const together: Wave[] = [];
    for (const [n, wave] of waves.entries()) {
      const isLast = n === waves.length - 1;
      const isLarge = anew !== true && bytesOf([wave]) > compareContentsBelow;
      if (!isLarge) together.push(wave);
      if (isLarge || isLast || !confirms) {
        const ends = isLast && !isLarge;
        const request = { ...compared, sourceRoot, fsync, confirms, lastTwice: fsync && ends };
        left.push(
          ...(await sendTogether(together.splice(0), { ...callOptions, ...(ends && gate && { gate }) }, request)),
        );
      }
      if (!isLarge) continue;
      if (isLast) await gate;
      await putLarge(sourceRoot, wave, callOptions, fsync);
      const again = smallestOf(wave);
      const request = { ...compared, sourceRoot, waves: [[again]], fsync, confirms, lastTwice: false };
      if (fsync && isLast && again.size <= compareContentsBelow) await transfer(callOptions, request);
    }
    return { left };
  }

  /** In one run, and one more behind each wave of which something was passed over. Returns what was. */
  async function sendTogether(
    waves: readonly Wave[],
    callOptions: TransportOptions,
    request: Omit<SendRequest, 'waves'>,
  ): Promise<readonly string[]> {
    const left: string[] = [];
    for (let first = 0; first < waves.length; ) {
      const { taken, wavesDone } = await transfer(callOptions, { ...request, waves: waves.slice(first) });
      const done = waves.slice(first, first + wavesDone).flat();
      left.push(...done.flatMap(({ path }) => (taken.has(path) ? [] : [path])));
      first += wavesDone;
    }
    return left;
  }

  async function putLarge(
    sourceRoot: string,
    wave: Wave,
    callOptions: TransportOptions,
    fsync: boolean,
  ): Promise<void> {
    for (let start = 0; start < wave.length; start += filesInARun) {
      const waves = [wave.slice(start, start + filesInARun)];
      const request = { sourceRoot, waves, fsync, confirms: false, lastTwice: false, bySize: true };
      const { way } = await firstTaken(hashing, (hashed) => transfer(callOptions, { ...request, hashed }));
      hashing = hashing.slice(hashing.indexOf(way));
    }
  }

  /**
   * What is named and missing from the source `empty` is deleted at the mirror; `--existing` keeps rsync from making a directory that
   * the mirror has not. False where the rsync there takes such names for a broken protocol: 3.4.3, and Debian's 3.2.7 and 3.4.1 with
   * its patches.
   */
  async function removeByName(
    paths: readonly string[],
    empty: string,
    callOptions: TransportOptions,
  ): Promise<boolean> {
    for (const directory of new Set(paths.map((one) => posix.dirname(one)))) {
      await mkdir(join(empty, directory), { recursive: true });
    }
    const request = {
      args: [...fromNames, '--existing', '--delete-missing-args', './', root],
      cwd: empty,
      input: paths.map((one) => `${one}\0`).join(''),
    };
    let isBroken = false;
    await run(callOptions, request, (result) => {
      isBroken = /invalid file mode 00 for /.test(saidBy(result));
      return isBroken;
    });
    return !isBroken;
  }

  /**
   * The rsync there looks through one directory at a time: what no rule includes is kept, and no more than was named is deleted. Named
   * by its path, a directory may be a symbolic link; as part of a run over the root, rsync would put a directory in the link's place.
   * Directories are repositories, whose names have no wildcard (template.ts): an old rrsync would expand it.
   */
  async function removeByRules(paths: readonly string[], empty: string, callOptions: TransportOptions): Promise<void> {
    const absent = new Set<string>();
    const removeIn = (directory: string, names: readonly string[], accept: typeof isAbsentTarget): Promise<void> => {
      const rules = ['--from0', '--exclude=*/', '--include-from=-', '--exclude=*', '--dirs', '--existing', '--delete'];
      const request = {
        args: [...rules, `--max-delete=${names.length}`, './', directory === '.' ? root : `${at(directory)}/.`],
        cwd: empty,
        input: names.map((name) => `/${literal(name)}\0`).join(''),
      };
      return run(callOptions, request, accept);
    };
    const within = Map.groupBy(paths, (path) => posix.dirname(path));
    for (const [directory, inIt] of within) {
      const names = inIt.map((path) => posix.basename(path));
      for (let start = 0; start < names.length; start += rulesInARun) {
        await removeIn(directory, names.slice(start, start + rulesInARun), (result) => {
          if (directory === '.' || !isAbsentTarget(result)) return false;
          absent.add(directory);
          return true;
        });
      }
    }
    // Nothing is deleted: a root that is missing is an error, for instance a disk that is not mounted.
    if (absent.size > 0) await removeIn('.', [], () => false);
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
      const empty = await mkdtemp(join(tmpdir(), 'lockstepd-empty-'));
      try {
        if (!removesByName || !(await removeByName(paths, empty, callOptions))) {
          removesByName = false;
          await removeByRules(paths, empty, callOptions);
        }
      } finally {
        await rm(empty, { recursive: true, force: true });
      }
    },
    check,
    close,
  };
}

/** What `work` comes to with the first of the ways that the account does not refuse. Throws what the first one was refused with. */
async function firstTaken<W, T>(ways: readonly W[], work: (way: W) => Promise<T>): Promise<{ way: W; result: T }> {
  let refusal: TransportError | undefined;
  for (const way of ways) {
    try {
      return { way, result: await work(way) };
    } catch (error) {
      if (!(error instanceof TransportError) || error.reason !== 'option_refused') throw error;
      refusal ??= error;
    }
  }
  throw refusal as TransportError;
}

/**
 * rsync syncs a file before it renames it, and no directory. One file put once more has a sync after every rename that counts;
 * it takes them along where the file system keeps the order of names (ext4, xfs). Its own last rename changes no byte.
 */
function smallestOf(wave: Wave): PushFile {
  return wave.reduce((least, file) => (file.size < least.size ? file : least));
}

/** A backslash escapes only in a pattern with a wildcard (FILTER RULES of rsync(1)). */
function literal(name: string): string {
  return /[*?[]/.test(name) ? name.replace(/[*?[\\]/g, '\\$&') : name;
}

/**
 * Throws TransportError when the mirror passed over an index: rrsync -no-overwrite leaves out what is there, and ends well.
 * A package that is there already does no harm.
 */
function requireTaken(left: readonly string[]): void {
  const index = left.find((path) => !path.endsWith('.apk'));
  if (index === undefined) return;
  const message = `the account does not replace ${index}: take -no-overwrite from its authorized_keys line`;
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

/** As above, of a directory that would be written to: there rsync ends with 3. A file may lie in the place of the directory, or of one above. */
function isAbsentTarget(result: SplicedResult): boolean {
  const cannot = /change_dir(?:#\d)? ".*" failed: No such file|cannot stat destination ".*": Not a directory/;
  return isAbsentDirectory(result) || ([result.code, result.remoteCode].includes(3) && cannot.test(saidBy(result)));
}

/** What is read is not there; rrsync 3.5 looks for its directory itself. */
function isAbsentFile(result: SplicedResult): boolean {
  const partial = [result.code, result.remoteCode].includes(23);
  return (
    isAbsentDirectory(result) ||
    (partial && /(?:link_stat|change_dir) ".*" failed: No such file or directory/.test(saidBy(result)))
  );
}
