/** `lockstepd init mirror`: adds a mirror to the configuration of the primary and prints what its owner has to do, once. */
import { access, chown, constants, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { appendToList, readYaml, writeYaml } from '../config/document.ts';
import { credentialName } from '../config/identity.ts';
import { loadConfigText } from '../config/load.ts';
import { ConfigError, messageOf, OperationError, UsageError } from '../errors.ts';
import { writeFileDurable } from '../system/durable.ts';
import { escapeText } from '../system/log.ts';
import type { readSubcommand } from './arguments.ts';
import { exitCode, type Io } from './command.ts';
import { type HostKey, scanHostKeys } from './init-host-key.ts';
import { ownHostname } from './init-hostname.ts';
import { differences, type MirrorItem, type MirrorOptions, mirrorItem, volunteerPart } from './init-mirror-plan.ts';
import { unitMirror } from './init-snippets.ts';
import { applyStep, describeStep, inspectStep, type Step, textOf } from './init-steps.ts';
import { plainNameOf, plainPathOf, sshKeysOf } from './init-values.ts';
import { volunteerText } from './init-volunteer.ts';
import { defaultConfigFile } from './spec.ts';
import type { spec } from './specs/init.ts';

type Values = Extract<ReturnType<typeof readSubcommand<typeof spec>>, { name: 'mirror' }>['values'];

/** `args`: the whole command line after `init`, to be said again with the host key. */
export async function initMirror(args: readonly string[], given: string, values: Values, io: Io): Promise<number> {
  const name = plainNameOf('init mirror', 'NAME', given);
  const config = plainPathOf('init mirror', '--config', values.config);
  const options: MirrorOptions = { ...values, hostKeys: values['host-key'] };
  const dryRun = values['dry-run'];
  const written = await textOf(config);
  if (written === null)
    throw new OperationError('STATE', `init mirror ${name}: ${config} is not there: run lockstepd init primary first`);
  await loadConfigText(config, written, { env: io.env, outsideService: true, ignoreDisk: true });
  const item = mirrorItem(name, options, dirname(config));
  const there = mirrorIn(config, written, name);
  if (there !== undefined) requireSame(config, item, there);
  else await requireFit(config, written, item, io);

  const hostname = plainNameOf('init mirror', '--hostname', values.hostname ?? (await ownHostname()), 253);
  const part = volunteerPart(item, options, await publicKeyOf(item, dirname(config)), hostname);
  if (part !== null) io.out(`${escapeLines(volunteerText(part))}\n\n`);

  const steps = stepsOf(item);
  if (there === undefined) {
    const { host, port = 22, identity } = item.transport;
    if (typeof host === 'string' && identity !== undefined) {
      const shown = await scanHostKeys(plainNameOrAddress(name, host), Number(port));
      if (options.hostKeys.length === 0) {
        io.out(`${escapeLines(unpinnedText(`init mirror ${name}`, host, shown, args))}\n`);
        return exitCode.tryAgain;
      }
      io.out(`${escapeText(requirePinned(`init mirror ${name}`, host, shown, options.hostKeys))}\n`);
    }
    const changed = await withMirror(config, written, item, io);
    if (dryRun) io.out(`would add to the mirrors of ${config}:\n${indent(writeYaml([item]))}`);
    else await replace(config, written, changed, name);
    if (!dryRun) io.out(`${config}: the mirror ${name} is added\n`);
  } else io.out(`nothing to change: ${config} has the mirror ${name}\n`);
  for (const step of steps) await carryOut(step, dryRun, io);
  io.out(`\n${nextText(item, steps.length > 0, config)}`);
  return exitCode.ok;
}

function mirrorIn(config: string, text: string, name: string): unknown {
  const { value } = readYaml(config, text);
  const { mirrors } = value as { readonly mirrors?: readonly { readonly name?: unknown }[] | null };
  return mirrors?.find((mirror) => mirror.name === name);
}

function requireSame(config: string, item: MirrorItem, there: unknown): void {
  const found = differences(there, item);
  if (found.length === 0) return;
  throw new OperationError(
    'STATE',
    `init mirror ${item.name}: ${config} has it with ${found.join('; ')}: change it there, or choose another name`,
  );
}

/** The key that the mirror's owner lets in; empty for a mirror that nobody logs in to. */
async function publicKeyOf({ name, transport }: MirrorItem, home: string): Promise<string> {
  const { identity } = transport;
  if (typeof identity !== 'string') return '';
  const credential = credentialName(identity);
  const file = `${credential === null ? identity : join(home, credential)}.pub`;
  if ((await textOf(file)) === null)
    throw new OperationError(
      'STATE',
      `init mirror ${name}: ${file} is not there: lockstepd init primary makes a key; or give another by --identity`,
    );
  return (await sshKeysOf('init mirror', '--identity', [file]))[0] ?? '';
}

/** What a person has to do who has not compared the host key yet. Throws OperationError when the host does not answer. */
function unpinnedText(what: string, host: string, [seen]: readonly HostKey[], args: readonly string[]): string {
  if (seen === undefined)
    throw new OperationError(
      'UNREACHABLE',
      `${what}: ${host} does not answer: ask its owner for the fingerprint of its host key, then run this again with --host-key`,
    );
  const again = [...args, '--host-key', seen.fingerprint].map((word) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`,
  );
  return `# ==== Not added yet. ${host} shows the host key ${seen.type} ${seen.fingerprint}
# Compare that with the line that its owner sends. Only if they are the same, here, as root:
lockstepd init ${again.join(' ')}`;
}

/** One line on how the host key compares with the given ones. Throws OperationError when it is none of them. */
function requirePinned(what: string, host: string, shown: readonly HostKey[], given: readonly string[]): string {
  const [seen] = shown;
  if (seen === undefined) return `${host} does not answer: its host key was not compared`;
  if (given.includes(seen.fingerprint)) return `${host} shows ${seen.type} ${seen.fingerprint}, as given`;
  const other = shown.find(({ fingerprint }) => given.includes(fingerprint));
  throw new OperationError(
    'STATE',
    other === undefined
      ? `${what}: ${host} shows ${seen.type} ${seen.fingerprint}, which is not --host-key: nothing is written: ask its owner which is right`
      : `${what}: ${host} has that ${other.type} key, but connections use its ${seen.type} key ${seen.fingerprint}: compare and give that one by --host-key`,
  );
}

function plainNameOrAddress(name: string, host: string): string {
  if (/^[A-Za-z0-9:][A-Za-z0-9:.-]*$/.test(host)) return host;
  throw new UsageError(`init mirror ${name}: --host ${JSON.stringify(host)}: expected a host name or address`);
}

/** What is wrong with the options, before anybody is told to do something. Throws UsageError. */
async function requireFit(config: string, text: string, item: MirrorItem, io: Io): Promise<void> {
  const { host, host_key: pinned } = item.transport;
  const unpinned = host !== undefined && pinned === undefined;
  const hostKey = unpinned ? { host_key: `SHA256:${'A'.repeat(43)}` } : {};
  const changed = appendToList(text, 'mirrors', { ...item, transport: { ...item.transport, ...hostKey } });
  // A list that cannot be added to is told of when all the rest is known.
  if (changed === null) return;
  try {
    await loadConfigText(config, changed, { env: io.env, outsideService: true, ignoreDisk: true });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new UsageError(`init mirror ${item.name}: ${problemsText(error)}`);
  }
}

function problemsText({ problems }: ConfigError): string {
  return problems.map(({ key, message }) => `${key}: ${message}`).join('; ');
}

/** The configuration with the mirror, checked as `check` does. Throws OperationError. */
async function withMirror(config: string, text: string, item: MirrorItem, io: Io): Promise<string> {
  const changed = appendToList(text, 'mirrors', item);
  if (changed === null)
    throw new OperationError(
      'STATE',
      `init mirror ${item.name}: the list of mirrors in ${config} has a form that is not added to without changing it: add this by hand: ${JSON.stringify(item)}`,
    );
  try {
    await loadConfigText(config, changed, { env: io.env, outsideService: true });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new OperationError('STATE', `init mirror ${item.name}: nothing is written: ${problemsText(error)}`, {
      cause: error,
    });
  }
  return changed;
}

/** Keeps owner and mode; a link keeps what it points to. Throws OperationError where it is not `before` any more: somebody else writes it. */
async function replace(config: string, before: string, text: string, name: string): Promise<void> {
  const file = await realpath(config);
  if ((await textOf(file)) !== before)
    throw new OperationError(
      'STATE',
      `init mirror ${name}: ${file} was changed meanwhile: nothing is written: run this again`,
    );
  try {
    await access(dirname(file), constants.W_OK);
  } catch (error) {
    throw new OperationError(
      'STATE',
      `init mirror ${name}: ${file} cannot be written (${messageOf(error)}): run it as root`,
    );
  }
  const { uid, gid, mode } = await stat(file);
  await writeFileDurable(file, text, { mode: mode & 0o7777 });
  if (uid !== process.getuid?.() || gid !== process.getgid?.()) await chown(file, uid, gid);
}

/** The sandbox of the unit has to know of a directory. */
function stepsOf({ name, transport: { type, path } }: MirrorItem): Step[] {
  if (type !== 'directory' || typeof path !== 'string') return [];
  const file = `/etc/systemd/system/lockstepd.service.d/20-mirror-${name}.conf`;
  return [{ kind: 'file', path: file, text: unitMirror(path) }];
}

async function carryOut(step: Step, dryRun: boolean, io: Io): Promise<void> {
  const finding = await inspectStep(step);
  if (finding === 'there') return;
  if (!dryRun) await applyStep(step, finding);
  const verb = finding === 'other' ? 'is there and not changed:' : dryRun ? 'would make' : 'made';
  io.out(`${verb} ${escapeText(describeStep(step, finding))}\n`);
}

function nextText({ transport }: MirrorItem, restarts: boolean, config: string): string {
  const own = config === defaultConfigFile ? '' : ` --config ${config}`;
  const directory =
    transport.type === 'directory' ? `install -d -o lockstepd -g lockstepd ${String(transport.path)}\n` : '';
  const take = restarts ? 'systemctl daemon-reload && systemctl restart lockstepd' : 'systemctl reload lockstepd';
  return `# ==== Here, as root, when the other side is ready:
${directory}lockstepd check${own} --online && ${take}
lockstepd status${own}
`;
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

function escapeLines(text: string): string {
  return text.split('\n').map(escapeText).join('\n');
}
