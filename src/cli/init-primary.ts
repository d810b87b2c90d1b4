/** `lockstepd init primary`: makes what a primary needs of its own and prints what goes into sshd, nginx and rsyncd; a second run changes nothing. */
import { readdir, readFile } from 'node:fs/promises';
import { hostname as systemHostname } from 'node:os';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readYaml, writeYaml } from '../config/document.ts';
import { loadConfig, loadConfigText } from '../config/load.ts';
import { ConfigError, errnoOf, OperationError, UsageError } from '../errors.ts';
import { escapeText } from '../system/log.ts';
import type { readSubcommand } from './arguments.ts';
import { exitCode, type Io } from './command.ts';
import { keysFile, type Settings, snippetsOf, stepsOf } from './init-primary-plan.ts';
import { configText, defaultRoot, defaultState, type Inbox, type PrimarySettings } from './init-snippets.ts';
import { applyStep, describeStep, type Finding, inspectStep, type Step, textOf } from './init-steps.ts';
import { plainNameOf, plainPathOf, sshKeysOf, trustKeysOf } from './init-values.ts';
import type { spec } from './specs/init.ts';

const me = 'init primary';

type Values = Extract<ReturnType<typeof readSubcommand<typeof spec>>, { name: 'primary' }>['values'];

export async function initPrimary(values: Values, io: Io): Promise<number> {
  const dryRun = values['dry-run'];
  if (!dryRun && process.getuid?.() !== 0)
    throw new OperationError('STATE', `${me}: it makes accounts and directories: run it as root, or with --dry-run`);

  const builder = plainNameOf(me, '--builder', values.builder);
  const config = plainPathOf(me, '--config', values.config);
  const written = await writtenIn(config, builder);
  const { wanted, agrees } = reconcile(config, builder, values, written);
  const settings: Settings = {
    ...wanted,
    config,
    account: plainNameOf(me, '--account', values.account ?? `repoupload-${builder}`, 32),
    hostname: plainNameOf(me, '--hostname', values.hostname ?? systemHostname(), 253),
    trustKeys: await trustKeysOf(me, values['trust-key']),
    builderKeys: await sshKeysOf(me, '--builder-key', values['builder-key']),
  };
  await requireKey(settings);
  if (written === null) await requireValid(settings, io);

  const steps = stepsOf(settings, written === null);
  const changes = await carryOut(steps, dryRun, io);
  if (!agrees)
    leave(io, config, 'is there and is not changed; this would be added to its inboxes', writeYaml([settings.inbox]));
  if (changes === 0 && agrees) io.out('nothing to change: everything is there\n');
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
  readonly inbox?: Readonly<Record<string, unknown>> | undefined;
}

/** What the configuration says already; null where there is none. Throws ConfigError when it is no YAML. */
async function writtenIn(config: string, builder: string): Promise<Written | null> {
  const text = await textOf(config);
  if (text === null) return null;
  const { broken, value, problems } = readYaml(config, text);
  if (broken) throw new ConfigError(problems);
  const document = isMapping(value) ? value : {};
  const inboxes: unknown[] = Array.isArray(document.inboxes) ? document.inboxes : [];
  const inbox = inboxes.filter(isMapping).find((entry) => entry.builder === builder);
  return { ...document, inbox };
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
    const [asked, said] = [values[key], typeof there === 'string' ? there : undefined];
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
    keys: typeof there.keys === 'string' ? there.keys : defaults.keys,
  };
  plainPathOf(me, `inbox of ${builder}`, `/${inbox.path}`);
  plainPathOf(me, `keys of ${builder}`, inbox.keys);
  const agrees =
    written === null || (written.inbox !== undefined && isDeepStrictEqual(there.repositories, [...inbox.repositories]));
  return { wanted: { root, state, listen: choose('listen', '127.0.0.1:9617'), inbox }, agrees };
}

/** Without a key to trust nothing could ever be published, and `check` says so. */
async function requireKey({ inbox: { keys }, trustKeys }: Settings): Promise<void> {
  if (trustKeys.length > 0) return;
  const names = await readdir(keys).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  if (!names.some((name) => /\.(?:pub|pem)$/.test(name)))
    throw new UsageError(
      `${me}: no key to trust: expected --trust-key FILE, the public key that signs the repository, under the name that its signatures use`,
    );
}

/** What is wrong with the values, before anything is made. */
async function requireValid(settings: Settings, io: Io): Promise<void> {
  try {
    await loadConfigText(settings.config, configText(settings), {
      env: io.env,
      outsideService: true,
      ignoreDisk: true,
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new UsageError(`${me}: ${error.problems.map(({ key, message }) => `${key}: ${message}`).join('; ')}`);
  }
}

/** Returns how many steps changed something, or would. */
async function carryOut(steps: readonly Step[], dryRun: boolean, io: Io): Promise<number> {
  let changes = 0;
  // What stands in the way is found before anything is made.
  for (const step of steps) await inspectStep(step);
  for (const step of steps) {
    const finding: Finding = await inspectStep(step);
    if (finding === 'there') continue;
    if (finding === 'other' && step.kind === 'file') {
      if (!(await holdsLines(step.path, step.text)))
        leave(io, step.path, 'is there and is not changed; this would be in it', step.text);
      continue;
    }
    changes++;
    if (!dryRun) await applyStep(step, finding);
    io.out(`${dryRun ? 'would make' : 'made'} ${escapeText(describeStep(step, finding))}\n`);
    if (dryRun && step.kind === 'file') io.out(step.text.replace(/^(?=.)/gm, '    '));
  }
  return changes;
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

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
