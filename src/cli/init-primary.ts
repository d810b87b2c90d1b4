/** `lockstepd init primary`: makes what a primary needs of its own and prints what goes into sshd, nginx and rsyncd; a second run changes nothing. */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readYaml, writeYaml } from '../config/document.ts';
import { keyDirectories } from '../config/keys-schema.ts';
import { loadConfig, loadConfigText } from '../config/load.ts';
import { ConfigError, errnoOf, OperationError, UsageError } from '../errors.ts';
import { escapeText } from '../system/log.ts';
import type { readSubcommand } from './arguments.ts';
import { exitCode, type Io } from './command.ts';
import { ownHostname } from './init-hostname.ts';
import { keysFile, type Settings, snippetsOf, stepsOf } from './init-primary-plan.ts';
import { configText, defaultRoot, defaultState, type Inbox, type PrimarySettings } from './init-snippets.ts';
import { applyStep, describeStep, type Finding, inspectStep, type Step, textOf } from './init-steps.ts';
import { plainNameOf, plainPathOf, requireSeen, sshKeysOf, trustKeysOf } from './init-values.ts';
import type { spec } from './specs/init.ts';

const me = 'init primary';

type Values = Extract<ReturnType<typeof readSubcommand<typeof spec>>, { name: 'primary' }>['values'];

export async function initPrimary(values: Values, io: Io): Promise<number> {
  const dryRun = values['dry-run'];
  if (!dryRun && process.getuid?.() !== 0)
    throw new OperationError('STATE', `${me}: it makes accounts and directories: run it as root, or with --dry-run`);

  const builder = plainNameOf(me, '--builder', values.builder);
  const config = plainPathOf(me, '--config', values.config);
  const written = await writtenIn(config, builder, io);
  const { wanted, agrees } = reconcile(config, builder, values, written);
  const settings: Settings = {
    ...wanted,
    config,
    account: accountOf(values.account ?? `repoupload-${builder}`),
    hostname: plainNameOf(me, '--hostname', values.hostname ?? (await ownHostname()), 253),
    trustKeys: await trustKeysOf(me, values['trust-key']),
    builderKeys: await sshKeysOf(me, '--builder-key', values['builder-key']),
  };
  if (written === null) for (const path of [config, settings.root, settings.state]) requireSeen(me, path);
  await requireKey(settings, written);
  if (written === null) await requireValid(config, configText(settings), io);
  else if (!agrees) await requireValid(config, writeYaml(withInbox(written, settings.inbox)), io);

  const steps = stepsOf(settings, written === null);
  const { changes, left } = await carryOut(steps, dryRun, io);
  if (!agrees) {
    const where = written?.inbox === undefined ? 'be added to its inboxes' : 'stand there for that builder';
    const inbox = entryOf(settings.inbox, written?.inbox);
    leave(io, config, `is there and is not changed; this would ${where}`, writeYaml([inbox]));
  }
  if (changes === 0 && left === 0 && agrees) io.out('nothing to change: everything is there\n');
  if (!dryRun) await loadConfig(config, { env: io.env, outsideService: true });
  if (!dryRun) io.out(`${config}: ok\n`);
  const knowsBuilder = settings.builderKeys.length > 0 || (await textOf(keysFile(settings))) !== null;
  io.out(`\n${escapeLines(snippetsOf(settings, knowsBuilder))}`);
  return exitCode.ok;
}

interface Written {
  readonly root?: unknown;
  readonly state?: unknown;
  readonly listen?: unknown;
  /** The inbox of the builder. */
  readonly inbox: Readonly<Record<string, unknown>> | undefined;
  /** All that it says. */
  readonly document: Readonly<Record<string, unknown>>;
}

/** What the configuration says already; null where there is none. Throws ConfigError for a wrong one: its paths may be wrong too. */
async function writtenIn(config: string, builder: string, io: Io): Promise<Written | null> {
  const text = await textOf(config);
  if (text === null) return null;
  await loadConfigText(config, text, { env: io.env, outsideService: true, ignoreDisk: true });
  const { value } = readYaml(config, text);
  const document = isMapping(value) ? value : {};
  const { root, state, listen } = document;
  return { root, state, listen, inbox: inboxesOf(document).find((entry) => entry.builder === builder), document };
}

function inboxesOf({ inboxes }: Written['document']): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(inboxes) ? inboxes.filter(isMapping) : [];
}

/** The document as it would be with what is printed. */
function withInbox({ document }: Written, inbox: Inbox): Written['document'] {
  const there = inboxesOf(document);
  const inboxes = there.some(({ builder }) => builder === inbox.builder)
    ? there.map((entry) => (entry.builder === inbox.builder ? entryOf(inbox, entry) : entry))
    : [...there, inbox];
  return { ...document, inboxes };
}

/** What is asked for, with all else that is written. */
function entryOf(inbox: Inbox, there: Written['inbox']): unknown {
  return there === undefined ? inbox : { ...there, ...inbox, keys: there.keys };
}

/** Who uploads is confined, by sshd too: that must not be whoever administers the host, nor the daemon. */
function accountOf(name: string): string {
  const account = plainNameOf(me, '--account', name, 32);
  if (account !== 'root' && account !== 'lockstepd') return account;
  throw new UsageError(`${me}: --account ${account}: expected one that is only used for uploads`);
}

/** What is asked for, with what is written where nothing was asked; `agrees`: the file says all of it. */
function reconcile(
  config: string,
  builder: string,
  values: Values,
  written: Written | null,
): { readonly wanted: PrimarySettings; readonly agrees: boolean } {
  const choose = (key: 'root' | 'state' | 'listen', otherwise: string): string => {
    const there = written?.[key];
    const isPath = key !== 'listen';
    const [asked, said] = [values[key], typeof there === 'string' ? there : undefined].map((value) =>
      value !== undefined && isPath ? withoutEnd(value) : value,
    );
    if (asked !== undefined && said !== undefined && asked !== said)
      throw new OperationError(
        'STATE',
        `${me}: ${config} says ${key}: ${said}, not ${asked}: change the file, or leave --${key} out`,
      );
    return asked ?? said ?? otherwise;
  };
  const root = plainPathOf(me, '--root', choose('root', defaultRoot));
  const state = plainPathOf(me, '--state', choose('state', defaultState));
  const defaults: Inbox = {
    builder,
    path: `inbox/${builder}`,
    repositories: ['main/{arch}'],
    keys: join(dirname(config), 'keys', builder),
  };
  const there = written?.inbox ?? {};
  const inbox: Inbox = {
    builder,
    path: typeof there.path === 'string' ? there.path : defaults.path,
    repositories:
      values.repositories.length > 0
        ? values.repositories
        : isTexts(there.repositories)
          ? there.repositories
          : defaults.repositories,
    // Of several directories the first takes the keys that are given.
    keys: keyDirectories(there.keys)[0]?.directory ?? defaults.keys,
  };
  const odd = inbox.repositories.find((template) => /["\\\s]/.test(template));
  if (odd !== undefined)
    throw new UsageError(`${me}: --repositories ${JSON.stringify(odd)}: expected a path such as main/{arch}`);
  plainPathOf(me, `inbox of ${builder}`, `/${inbox.path}`);
  plainPathOf(me, `keys of ${builder}`, inbox.keys);
  const agrees =
    written === null || (written.inbox !== undefined && isDeepStrictEqual(there.repositories, [...inbox.repositories]));
  return { wanted: { root, state, listen: choose('listen', '127.0.0.1:9617'), inbox }, agrees };
}

/** Without a key to trust nothing could ever be published, and `check` says so. */
async function requireKey({ inbox: { keys }, trustKeys }: Settings, written: Written | null): Promise<void> {
  if (trustKeys.length > 0) return;
  const others = keyDirectories(written?.inbox?.keys).map(({ directory }) => directory);
  const names = await Promise.all([keys, ...others].map(namesIn));
  if (!names.flat().some((name) => /\.(?:pub|pem)$/.test(name)))
    throw new UsageError(
      `${me}: no key to trust: expected --trust-key FILE, the public key that signs the repository, under the name that its signatures use`,
    );
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** What is wrong with the values, before anything is made. */
async function requireValid(config: string, text: string, io: Io): Promise<void> {
  try {
    await loadConfigText(config, text, { env: io.env, outsideService: true, ignoreDisk: true });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new UsageError(`${me}: ${error.problems.map(({ key, message }) => `${key}: ${message}`).join('; ')}`);
  }
}

/** Returns how many steps changed something, or would, and how many files are left to a person. */
async function carryOut(
  steps: readonly Step[],
  dryRun: boolean,
  io: Io,
): Promise<{ readonly changes: number; readonly left: number }> {
  let [changes, left] = [0, 0];
  // What stands in the way is found before anything is made.
  for (const step of steps) await inspectStep(step);
  for (const step of steps) {
    const finding: Finding = await inspectStep(step);
    if (finding === 'there') continue;
    if (finding === 'other' && step.kind === 'file') {
      if (await holdsLines(step.path, step.text)) continue;
      left++;
      leave(io, step.path, 'is there and is not changed; this would be in it', step.text);
      continue;
    }
    changes++;
    if (!dryRun) await applyStep(step, finding);
    io.out(`${dryRun ? 'would make' : 'made'} ${escapeText(describeStep(step, finding))}\n`);
    if (dryRun && step.kind === 'file') io.out(step.text.replace(/^(?=.)/gm, '    '));
  }
  return { changes, left };
}

/** An admin may have added to it. */
async function holdsLines(path: string, text: string): Promise<boolean> {
  const there = new Set((await readFile(path, 'utf8')).split('\n'));
  return text.split('\n').every((line) => there.has(line));
}

function leave(io: Io, path: string, why: string, text: string): void {
  io.out(`${escapeText(path)} ${why}:\n${text.replace(/^(?=.)/gm, '    ')}`);
}

function escapeLines(text: string): string {
  return text.split('\n').map(escapeText).join('\n');
}

function withoutEnd(path: string): string {
  return path.replace(/(?<=.)\/+$/, '');
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
