/** `lockstepd adopt`: takes an existing plain directory over as the next generation, once it is verified. The daemon must not run. */
import { lstatSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { lockAll, openState } from '../daemon/locks.ts';
import { rebuildFromTrees } from '../daemon/rebuild.ts';
import { OperationError } from '../errors.ts';
import { Publisher } from '../publish/publisher.ts';
import { openStore, type Store } from '../store/store.ts';
import { systemClock } from '../system/clock.ts';
import { toInstant } from '../system/instant.ts';
import { createLog, escapeText } from '../system/log.ts';
import { type Keyring, readKeyring } from '../trust/keyring.ts';
import { Verifier } from '../trust/verify.ts';
import { type Adoption, surveyDirectory } from './adopt-survey.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { ProgressLine } from './progress-line.ts';
import { spec } from './specs/adopt.ts';

export const command: Command = { spec, run };

interface Options {
  readonly directory: string;
  readonly dryRun: boolean;
  readonly missing: 'hold' | 'publish' | null;
}

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, operands } = readArgs(spec, args);
  const options: Options = { directory: operands[0], dryRun: values['dry-run'], missing: values.missing ?? null };
  const config = await loadConfig(values.config, { env: io.env, outsideService: true });
  const keyrings = await readKeyrings(config, io);
  await using verifier = new Verifier({ workers: config.workers });
  return await (options.dryRun
    ? look(config, keyrings, verifier, options, io)
    : adopt(config, keyrings, verifier, options, io));
}

async function readKeyrings(config: Config, io: Io): Promise<ReadonlyMap<string, Keyring>> {
  const keyrings = new Map<string, Keyring>();
  for (const { builder, keys, signatureAlgorithms } of config.inboxes) {
    const { keyring, faults } = await readKeyring(keys, signatureAlgorithms);
    keyrings.set(builder, keyring);
    for (const { path, message } of faults) io.err(`${escapeText(`lockstepd: adopt: ${path}: ${message}`)}\n`);
  }
  return keyrings;
}

/** A dry run: what it stages is forgotten. */
async function look(
  config: Config,
  keyrings: ReadonlyMap<string, Keyring>,
  verifier: Verifier,
  options: Options,
  io: Io,
): Promise<number> {
  const scratch = await mkdtemp(join(tmpdir(), 'lockstepd-adopt-'));
  try {
    using store = openStore(scratch);
    const adoption = await survey({ config, keyrings, verifier, store, options, io, copies: null });
    return judge(adoption, options, io) ? exitCode.ok : exitCode.refused;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function adopt(
  config: Config,
  keyrings: ReadonlyMap<string, Keyring>,
  verifier: Verifier,
  options: Options,
  io: Io,
): Promise<number> {
  const { root, state } = config;
  requireOwner(state);
  using _ = lockAll(config);
  const log = createLog({ level: config.log.level, terminal: io.terminal, write: io.err });
  const clock = systemClock;
  using store = openState(state, clock, log);
  const plain = isPlainDirectory(join(root, 'public'));
  checkPlaces(config, store, options.directory, plain);
  const keyring = (builder: string): Keyring => keyrings.get(builder) ?? { keys: [] };
  if (!plain) await rebuildFromTrees({ config, store, verifier, keyring, clock, log });
  const publisher = new Publisher({ root, ...config.publish, takesOver: true }, { store, clock, log });
  await publisher.recover();
  try {
    const { number } = store.generations.current() ?? { number: 0 };
    if (number > 0 && isSame(options.directory, join(root, 'public'))) {
      io.out(`${options.directory}: is generation ${number} of lockstepd already: nothing to take over\n`);
      return exitCode.ok;
    }
    const adoption = await survey({ config, keyrings, verifier, store, options, io, copies: root });
    if (!judge(adoption, options, io)) return exitCode.refused;
    if (adoption.changes.length === 0) {
      io.out('nothing to take over\n');
      return exitCode.ok;
    }
    const generation = await publisher.publish(batchOf(adoption, store));
    io.out(`generation ${generation.number} is served from trees/${generation.tree}\n`);
    if (plain) io.out(`the directory is kept as ${root}/public.before-adopt: remove it when you are sure\n`);
    return exitCode.ok;
  } finally {
    await publisher.stop();
  }
}

async function survey(
  deps: Omit<Parameters<typeof surveyDirectory>[0], 'signal' | 'tell' | 'directory'> & {
    readonly options: Options;
    readonly io: Io;
  },
): Promise<Adoption> {
  const { options, io } = deps;
  const startedAt = toInstant(systemClock.now());
  using line = new ProgressLine(io);
  return await surveyDirectory({
    ...deps,
    directory: options.directory,
    signal: io.signal,
    onProgress: (progress) => line.show(progress, startedAt),
    tell: ({ kind, path, detail }) => {
      line.clear();
      io.out(`${escapeText(`${kind.padEnd(9)} ${path}${detail === '' ? '' : `: ${detail}`}`)}\n`);
    },
  });
}

/** Prints the sum of it; true when it may be taken over. */
function judge(adoption: Adoption, { missing, dryRun }: Options, io: Io): boolean {
  const { packages, linked, bytes, refused, gaps, mismatches, strangers, changes } = adoption;
  const how = dryRun ? '' : ` (${linked} linked, ${packages - linked} copied)`;
  io.out(
    `${changes.length} indexes, ${packages} packages of ${bytes} bytes verified${how}, ${gaps.total} gaps, ${mismatches} mismatches, ${refused} refused, ${strangers} strangers\n`,
  );
  const holding = missing === null ? gaps.held : missing === 'hold' ? gaps.total : 0;
  if (refused + mismatches + holding === 0) return true;
  const gapHint = holding > 0 ? ': missing packages: add them, or say --missing publish' : '';
  io.err(
    `lockstepd: adopt: not taken over${gapHint}${refused + mismatches > 0 ? ': see above what does not verify' : ''}\n`,
  );
  return false;
}

function batchOf({ changes }: Adoption, store: Store): Parameters<Publisher['publish']>[0] {
  const builder = changes[0]?.builder ?? '';
  const { id } = store.batches.record({
    key: `adopt ${changes.map(({ index }) => index.sha256).join(' ')}`,
    builder,
    state: 'waiting',
    updatedAtMs: systemClock.now(),
    repositories: changes.map(({ repository, indexFile, index, base }) => {
      return { path: repository, index: `${repository}/${indexFile}`, sha256: index.sha256, base };
    }),
    reasons: [],
  });
  const times = { settleMs: null, copyMs: null, verifyMs: null };
  return { id, builder, changes, removals: [], times };
}

/** Files made by another user could not be read or written by the daemon afterwards. */
function requireOwner(state: string): void {
  const uid = statSync(state, { throwIfNoEntry: false })?.uid;
  if (uid === undefined || uid === process.geteuid?.()) return;
  throw new OperationError('STATE', `state ${state}: belongs to user ${uid}: run lockstepd adopt as that user`);
}

function checkPlaces({ root }: Config, store: Store, directory: string, plain: boolean): void {
  const path = join(root, 'public');
  if (!plain) return;
  if (lstatSync(join(root, 'public.before-adopt'), { throwIfNoEntry: false }) !== undefined)
    throw new OperationError('LAYOUT', `${root}/public.before-adopt: is there already: move it away first`);
  const number = store.generations.current()?.number;
  if (number !== undefined)
    throw new OperationError(
      'LAYOUT',
      `${path}: is a plain directory, and lockstepd has published generation ${number}: move it away; the link is made again`,
    );
  if (!isSame(directory, path))
    throw new OperationError('LAYOUT', `${path}: is a plain directory too: take that one over, or move it away`);
}

function isPlainDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [a, b].map((path) => statSync(path, { throwIfNoEntry: false }));
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev;
}
