/** `lockstepd verify`: says of packages, indexes and whole repository directories whether they can be trusted, with no daemon. */
import { constants } from 'node:fs';
import { access, open, realpath, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { peekSchema } from '../apk/adb-container.ts';
import { kindOf, readHead } from '../apk/head.ts';
import { FormatError, messageOf, UsageError } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson, escapeText } from '../system/log.ts';
import { type AlgorithmName, algorithmNames, isAlgorithmName } from '../trust/algorithms.ts';
import { type Keyring, loadKeyring } from '../trust/keyring.ts';
import { keyringAt } from '../trust/standing.ts';
import { type SignaturePolicy, Verifier } from '../trust/verify.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { defaultKeys, spec } from './specs/verify.ts';
import { type Line, verifyDirectory, verifyFile } from './verify-directory.ts';

export const command: Command = { spec, run: async (args, io) => run(parse(args), io) };

interface Options {
  readonly keys: readonly string[];
  readonly packageSignatures: SignaturePolicy;
  readonly algorithms: readonly AlgorithmName[] | null;
  readonly json: boolean;
  readonly paths: readonly string[];
}

function parse(args: readonly string[]): Options {
  const { values, operands } = readArgs(spec, args);
  return {
    keys: values.keys,
    packageSignatures: values['package-signatures'],
    algorithms: algorithmsOf(values['signature-algorithms']),
    json: values.json,
    paths: operands,
  };
}

function algorithmsOf(written: readonly string[]): readonly AlgorithmName[] | null {
  if (written.length === 0) return null;
  const names = written.flatMap((list) => list.split(',')).map((name) => name.trim());
  const wrong = names.find((name) => !isAlgorithmName(name));
  if (wrong === undefined) return names.filter(isAlgorithmName);
  throw new UsageError(
    `verify: --signature-algorithms: expected names out of ${algorithmNames.join(', ')}, got ${JSON.stringify(wrong)}`,
  );
}

async function run(options: Options, io: Io): Promise<number> {
  const keyring = await loadKeys(options);
  await using verifier = new Verifier({ workers: Math.min(4, availableParallelism()) });
  const tools = { verifier, keyring, packageSignatures: options.packageSignatures, signal: io.signal };
  const counts = { accepted: 0, held: 0, rejected: 0, unreadable: 0 };
  const tell = (line: Line): void => {
    if (line.verdict === 'unreadable')
      io.err(`lockstepd: verify: ${escapeText(line.path)}: ${escapeText(line.detail)}\n`);
    else io.out(options.json ? toJson(line) : toText(line));
    counts[line.verdict] += 1;
  };
  for (const path of options.paths) {
    try {
      await verifyPath(path, tools, tell);
    } catch (error) {
      io.signal.throwIfAborted();
      tell({ path, verdict: 'unreadable', code: null, detail: messageOf(error) });
    }
  }
  if (!options.json) {
    const unreadable = counts.unreadable === 0 ? '' : `, ${counts.unreadable} unreadable`;
    io.out(`${counts.accepted} accepted, ${counts.rejected} rejected, ${counts.held} held${unreadable}\n`);
  }
  if (counts.rejected + counts.held > 0) return exitCode.refused;
  return counts.unreadable > 0 ? exitCode.failure : exitCode.ok;
}

/** The keys as they count now, by the validity beside them. */
async function loadKeys({ keys, algorithms }: Options): Promise<Keyring> {
  if (keys.length === 0) {
    const present = await access(defaultKeys).then(
      () => true,
      () => false,
    );
    if (!present)
      throw new UsageError(
        `verify: no --keys given and no ${defaultKeys}: say --keys DIR with the trusted *.pub or *.pem files`,
      );
  }
  const keyring = await loadKeyring(keys.length === 0 ? [defaultKeys] : keys, algorithms);
  return keyringAt(keyring, { nowMs: systemClock.now(), scope: null });
}

async function verifyPath(
  path: string,
  tools: Parameters<typeof verifyFile>[1],
  tell: (line: Line) => void,
): Promise<void> {
  const stats = await stat(path);
  if (stats.isDirectory()) {
    await verifyDirectory(path, tools, tell);
    return;
  }
  const kind = stats.isFile() ? await guessKind(path) : 'package';
  const real = await realpath(path);
  for (const line of await verifyFile({ path, real, kind, entry: null }, tools)) tell(line);
}

/** By the name, or for other names by the beginning of the content. */
async function guessKind(path: string): Promise<'package' | 'index'> {
  const name = basename(path);
  if (name.endsWith('.apk')) return 'package';
  if (name.startsWith('APKINDEX') || name.endsWith('.adb')) return 'index';
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(64 * 1024), 0, 64 * 1024, 0);
  const start = buffer.subarray(0, bytesRead);
  try {
    if (start.toString('latin1', 0, 3) === 'ADB') return (await peekSchema(start)) === 'indx' ? 'index' : 'package';
    const head = readHead(start);
    return head === undefined ? 'package' : kindOf(head);
  } catch (error) {
    // What is wrong with it is for the verifier to say.
    if (error instanceof FormatError) return 'package';
    throw error;
  }
}

function toText(line: Line): string {
  const parts = [
    line.verdict,
    escapeText(line.path),
    ...(line.code === null ? [] : [line.code, escapeText(line.detail)]),
  ];
  return `${parts.join(' ')}\n`;
}

function toJson({ path, verdict, code, detail }: Line): string {
  return `${escapeJson(JSON.stringify({ path, verdict, code, detail }))}\n`;
}
