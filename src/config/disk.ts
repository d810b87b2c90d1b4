/** Whether the files and directories that a configuration names are there and may be used; reads, never changes. */
import { constants } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoOf, messageOf } from '../errors.ts';
import { readKeyring } from '../trust/keyring.ts';
import type { Outline } from './consistency.ts';
import type { KeyProblem } from './fields.ts';
import { credentialName, identityPath } from './identity.ts';

export interface DiskOptions {
  readonly credentialsDirectory: string | null;
  /** Do not miss credentials where systemd hands over none. */
  readonly outsideService: boolean;
}

/** Whether a directory that is absent is a problem; anything else in its place always is. */
type Need = 'must exist' | 'may exist';

/** Every path in `parts` that cannot be used as it is. The directories of mirrors are not looked at: a mirror may be away. */
export async function diskProblems(parts: Outline, options: DiskOptions): Promise<KeyProblem[]> {
  const { root, state, inboxes, mirrors, announce, hooks } = parts;
  const found: (KeyProblem | null)[] = [
    await directoryProblem(['root'], root, 'must exist'),
    await directoryProblem(['state'], state, 'may exist'),
  ];
  for (const [index, { path, keys }] of inboxes.entries()) {
    const inbox = root === undefined || path === undefined ? undefined : posix.resolve(root, path);
    found.push(await directoryProblem(['inboxes', index, 'path'], inbox, 'may exist'));
    found.push(...(await keysProblems(['inboxes', index, 'keys'], keys)));
  }
  for (const [index, { transport }] of mirrors.entries()) {
    const usesKey = ['rsync', 'sftp', 'trigger'].includes(transport.type ?? '');
    if (usesKey)
      found.push(await identityProblem(['mirrors', index, 'transport', 'identity'], transport.identity, options));
  }
  for (const [index, { transport }] of mirrors.entries()) {
    if (transport.type !== 'rclone') continue;
    const at = ['mirrors', index, 'transport', 'config'];
    found.push(await identityProblem(at, transport.config, options, 'configuration of rclone'));
  }
  for (const [index, { password, ca }] of announce.entries()) {
    found.push(await identityProblem(['announce', index, 'password'], password, options, 'password'));
    found.push(await readableProblem(['announce', index, 'ca'], ca));
  }
  for (const [index, { command }] of hooks.entries())
    found.push(await programProblem(['hooks', index, 'command', 0], command[0]));
  return found.filter((entry) => entry !== null);
}

type Path = KeyProblem['path'];

async function directoryProblem(at: Path, path: string | undefined, need: Need): Promise<KeyProblem | null> {
  if (path === undefined) return null;
  try {
    return (await stat(path)).isDirectory() ? null : problem(at, `${path} is no directory, expected one`);
  } catch (error) {
    if (need === 'may exist' && errnoOf(error) === 'ENOENT') return null;
    return problem(at, `${path} cannot be used (${reasonOf(error)}), expected a directory`);
  }
}

/** Of each directory what is wrong with it; when all can be read, what is wrong with the keys. */
async function keysProblems(at: Path, directories: Outline['inboxes'][number]['keys']): Promise<KeyProblem[]> {
  const found: KeyProblem[] = [];
  for (const { at: below, directory } of directories) {
    const unusable = await keysProblem([...at, ...below], directory);
    if (unusable !== null) found.push(unusable);
  }
  if (found.length > 0) return found;
  const { faults } = await readKeyring(directories);
  for (const { path, message } of faults) {
    const { at: below = [] } = directories.find(({ directory }) => posix.dirname(path) === directory) ?? {};
    const place = [...at, ...below];
    const said = found.findIndex((other) => other.path.join() === place.join());
    // One key of the configuration has one problem: the bad files of a directory are in it together.
    const text = `${path}: ${message}`;
    if (said < 0) found.push(problem(place, text));
    else found[said] = problem(place, `${found[said]?.message ?? ''}; ${text}`);
  }
  return found;
}

async function keysProblem(at: Path, directory: string): Promise<KeyProblem | null> {
  const expected = 'expected a directory with one or more public keys named *.pub that this user can read';
  let reading = directory;
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith('.pub')).sort();
    if (names.length === 0) return problem(at, `${directory} holds no key, ${expected}`);
    for (const name of names) {
      reading = posix.join(directory, name);
      await access(reading, constants.R_OK);
    }
    return null;
  } catch (error) {
    return problem(at, `${reading} cannot be read (${reasonOf(error)}), ${expected}`);
  }
}

async function identityProblem(
  at: Path,
  written: string | undefined,
  options: DiskOptions,
  what = 'private key',
): Promise<KeyProblem | null> {
  if (written === undefined) return null;
  const credential = credentialName(written);
  if (credential !== null && options.credentialsDirectory === null) {
    if (options.outsideService) return null;
    const hint = `LoadCredential=${credential}:FILE in the unit`;
    return problem(at, `${written}, but $CREDENTIALS_DIRECTORY is not set, expected a service with ${hint}`);
  }
  const path = identityPath(written, options.credentialsDirectory);
  if (!posix.isAbsolute(path)) return null;
  const expected = `expected the file of a ${what} that this user can read`;
  try {
    const facts = await stat(path);
    if (!facts.isFile()) return problem(at, `${path} is no file, ${expected}`);
    // systemd guards its credentials by the directory and an ACL, whose mask shows up as group bits.
    if (credential === null && (facts.mode & 0o077) !== 0) {
      const mode = (facts.mode & 0o777).toString(8).padStart(4, '0');
      return problem(at, `${path} has mode ${mode}, expected a ${what} that others cannot read (chmod 600)`);
    }
    await access(path, constants.R_OK);
    return null;
  } catch (error) {
    return problem(at, `${path} cannot be read (${reasonOf(error)}), ${expected}`);
  }
}

/** A file that anybody may read. */
async function readableProblem(at: Path, path: string | undefined): Promise<KeyProblem | null> {
  if (path === undefined || !posix.isAbsolute(path)) return null;
  try {
    await access(path, constants.R_OK);
    return (await stat(path)).isFile() ? null : problem(at, `${path} is no file, expected one`);
  } catch (error) {
    return problem(at, `${path} cannot be read (${reasonOf(error)}), expected a file that this user can read`);
  }
}

/** A program that this user may run. */
async function programProblem(at: Path, path: string | undefined): Promise<KeyProblem | null> {
  if (path === undefined || !posix.isAbsolute(path)) return null;
  try {
    const facts = await stat(path);
    if (!facts.isFile()) return problem(at, `${path} is no file, expected a program`);
    if ((facts.mode & 0o002) !== 0)
      return problem(at, `${path} can be changed by anybody, expected a program that others cannot write (chmod o-w)`);
    await access(path, constants.X_OK);
    return null;
  } catch (error) {
    return problem(at, `${path} cannot be run (${reasonOf(error)}), expected a program that this user can run`);
  }
}

/** `ENOENT: no such file or directory` without the call and the path that Node adds. */
function reasonOf(error: unknown): string {
  return messageOf(error).replace(/,.*$/s, '');
}

function problem(path: Path, message: string): KeyProblem {
  return { path, on: 'value', message };
}
