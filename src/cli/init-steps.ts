/** What `lockstepd init` has to make on this host: each step is looked at, then made or left; a second run finds everything there. */
import type { Stats } from 'node:fs';
import { chmod, chown, lstat, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, messageOf, OperationError } from '../errors.ts';
import { makeDirectoryDurable, syncDirectory, syncFile, writeFileDurable } from '../system/durable.ts';
import { childEnvironment, exec } from '../system/exec.ts';

export type Step =
  | {
      readonly kind: 'account';
      readonly name: string;
      readonly home: string;
      readonly shell: string;
      readonly comment: string;
    }
  | { readonly kind: 'member'; readonly account: string; readonly group: string }
  | {
      readonly kind: 'directory';
      readonly path: string;
      readonly mode: number;
      readonly owner: string;
      readonly group: string;
      /** What lies in it when it is ours already; absent where that needs no asking, as below another directory of ours. */
      readonly holds?: readonly string[];
    }
  /** A file that is there with other content is left as it is. */
  | { readonly kind: 'file'; readonly path: string; readonly text: string }
  /** A private key without a passphrase, and its public key beside it. */
  | { readonly kind: 'key-pair'; readonly path: string; readonly comment: string; readonly owner: string };

/** `other`: a directory or key with another owner or mode, which is mended; a file with other content, which is left. */
export type Finding = 'there' | 'absent' | 'other';

const childMs = 60_000;

/** Looks, changes nothing. Throws OperationError LAYOUT for what stands in the way. */
export async function inspectStep(step: Step): Promise<Finding> {
  switch (step.kind) {
    case 'account':
      return (await idsOf(step.name)) === null ? 'absent' : 'there';
    case 'member': {
      const groups = await child(['id', '-nG', step.account]);
      return groups.code === 0 && groups.stdout.trim().split(' ').includes(step.group) ? 'there' : 'absent';
    }
    case 'directory':
      return inspectDirectory(step);
    case 'file': {
      const text = await textOf(step.path);
      return text === null ? 'absent' : text === step.text ? 'there' : 'other';
    }
    case 'key-pair': {
      const facts = await factsOf(step.path);
      if (facts === null) return 'absent';
      if (!facts.isFile()) throw new OperationError('LAYOUT', `${step.path} is no file: move it away`);
      const owner = await idsOf(step.owner);
      const closed = facts.uid === owner?.uid && (facts.mode & 0o077) === 0;
      return closed && (await textOf(`${step.path}.pub`)) !== null ? 'there' : 'other';
    }
    default:
      return step satisfies never;
  }
}

async function inspectDirectory(step: Extract<Step, { kind: 'directory' }>): Promise<Finding> {
  const facts = await factsOf(step.path);
  if (facts === null) return 'absent';
  if (!facts.isDirectory())
    throw new OperationError('LAYOUT', `${step.path} is no directory: move it away, or choose another --root`);
  const [owner, group, daemon] = [await idsOf(step.owner), await idsOf(step.group), await idsOf('lockstepd')];
  if (facts.uid !== 0 && facts.uid !== owner?.uid && facts.uid !== daemon?.uid)
    throw new OperationError(
      'LAYOUT',
      `${step.path} belongs to uid ${facts.uid}, expected ${[...new Set(['root', step.owner, 'lockstepd'])].join(' or ')}: chown it if nobody else uses it, or choose another`,
    );
  const same = facts.uid === owner?.uid && facts.gid === group?.gid && (facts.mode & 0o7777) === step.mode;
  if (same) return 'there';
  if (facts.uid === 0 && step.holds !== undefined)
    await requireOurs(step.path, step.holds, describeStep(step, 'absent'));
  return 'other';
}

/** Nobody else's directory gets our owner and mode: /etc, /tmp or /var/lib would be of no use to others then. */
async function requireOurs(path: string, holds: readonly string[], wanted: string): Promise<void> {
  const names = await readdir(path);
  if (names.every((name) => name === 'lost+found') || names.some((name) => holds.includes(name))) return;
  throw new OperationError(
    'LAYOUT',
    `${path} is there with other things in it, expected ${wanted}: choose another, or give it that owner and mode if nobody else uses it`,
  );
}

/** Makes what is absent, mends what is otherwise. Needs root. Throws OperationError. */
export async function applyStep(step: Step, finding: Finding): Promise<void> {
  if (finding === 'there' || (finding === 'other' && step.kind === 'file')) return;
  switch (step.kind) {
    case 'account': {
      const { name, home, shell, comment } = step;
      // `*`, not the locked `!`: sshd refuses a locked account where UsePAM is off.
      const look = ['--no-create-home', '--home-dir', home, '--shell', shell, '--password', '*', '--comment', comment];
      await must(['useradd', '--system', ...(await groupFor(name)), ...look, name]);
      break;
    }
    case 'member':
      await must(['usermod', '--append', '--groups', step.group, step.account]);
      break;
    case 'directory':
      if (finding === 'absent') await makeDirectoryDurable(step.path);
      await own(step.path, step.owner, step.group);
      await chmod(step.path, step.mode);
      break;
    case 'file':
      await makeDirectoryDurable(dirname(step.path));
      await writeFileDurable(step.path, step.text);
      break;
    case 'key-pair':
      if (finding === 'absent') await makeKey(step.path, step.comment);
      await chmod(step.path, 0o600);
      if ((await textOf(`${step.path}.pub`)) === null)
        await writeFileDurable(`${step.path}.pub`, await publicHalf(step.path));
      await own(step.path, step.owner, step.owner);
      break;
    default:
      step satisfies never;
  }
}

/** userdel leaves the group of an account where it has other members. */
async function groupFor(account: string): Promise<string[]> {
  const { code } = await child(['getent', 'group', account]);
  return code === 0 ? ['--gid', account] : ['--user-group'];
}

/** Whole or not at all: the private half gets its name last. */
async function makeKey(path: string, comment: string): Promise<void> {
  const made = `${path}.new`;
  for (const file of [made, `${made}.pub`]) await rm(file, { force: true });
  await must(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', made]);
  await writeFileDurable(`${path}.pub`, await readFile(`${made}.pub`, 'utf8'));
  await rm(`${made}.pub`);
  await syncFile(made);
  await rename(made, path);
  await syncDirectory(dirname(path));
}

async function publicHalf(path: string): Promise<string> {
  const { code, stdout } = await child(['ssh-keygen', '-y', '-P', '', '-f', path]);
  if (code === 0) return stdout;
  throw new OperationError(
    'LAYOUT',
    `${path} is no private key without a passphrase: move it away, then run this again to make one`,
  );
}

/** The step in words, without its verb: what stands after "made" or "would make". */
export function describeStep(step: Step, finding: Finding): string {
  switch (step.kind) {
    case 'account':
      return `account ${step.name}`;
    case 'member':
      return `${step.account} a member of the group ${step.group}`;
    case 'directory': {
      const mode = step.mode.toString(8).padStart(4, '0');
      return `directory ${step.path}: ${finding === 'other' ? 'now ' : ''}${mode} ${step.owner}:${step.group}`;
    }
    case 'file':
      return step.path;
    case 'key-pair':
      return `${step.path} and ${step.path}.pub`;
    default:
      return step satisfies never;
  }
}

/** The content of a file, null where there is none. Throws OperationError where it cannot be read. */
export async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    const denied = ['EACCES', 'EPERM'].includes(errnoOf(error) ?? '');
    const what = denied ? 'run this as root' : 'expected a file or nothing';
    throw new OperationError('STATE', `${path} cannot be read: ${messageOf(error)}: ${what}`, { cause: error });
  }
}

async function factsOf(path: string): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function own(path: string, owner: string, group: string): Promise<void> {
  const [user, members] = [await idsOf(owner), await idsOf(group)];
  if (user === null || members === null)
    throw new OperationError('STATE', `${path}: there is no account ${owner}: run lockstepd init primary first`);
  await chown(path, user.uid, members.gid);
}

/** Each account here has a group of its own name. */
async function idsOf(name: string): Promise<{ readonly uid: number; readonly gid: number } | null> {
  const { code, stdout } = await child(['getent', 'passwd', name]);
  const [, , uid, gid] = stdout.trim().split(':');
  return code === 0 ? { uid: Number(uid), gid: Number(gid) } : null;
}

async function must(argv: readonly [string, ...string[]]): Promise<string> {
  const { code, stdout, stderr } = await child(argv);
  if (code === 0) return stdout;
  const why = stderr.trim().split('\n').at(-1) ?? '';
  throw new OperationError('CHILD', `${argv.join(' ')}: exit ${code}: ${why}: mend that, then run this again`);
}

/** Runs one of the system's own tools. Throws OperationError CHILD where it is not installed. */
export async function child(argv: readonly [string, ...string[]]): ReturnType<typeof exec> {
  const path = `${childEnvironment().PATH}:/usr/sbin:/sbin`;
  try {
    return await exec(argv, { timeoutMs: childMs, env: childEnvironment({ PATH: path }) });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new OperationError('CHILD', `${argv[0]}: it is not installed: install it, then run this again`, {
      cause: error,
    });
  }
}
