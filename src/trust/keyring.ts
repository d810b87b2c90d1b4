/** Loads the public keys that are trusted; a key is found by comparing its name as a string, never by building a path from it. */
import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../errors.ts';
import type { AlgorithmName } from './algorithms.ts';
import { readPublicKey } from './public-key.ts';
import { parseValidity, type Validity } from './validity.ts';

/** Why a key that is there does not count for the file in question. */
export interface KeyRefusal {
  readonly code: 'SIG_UNTRUSTED' | 'OUT_OF_SCOPE';
  readonly detail: string;
}

export interface TrustedKey extends Validity {
  /** The name of its file: what signatures call it. */
  readonly name: string;
  readonly pem: string;
  /** Where it was read. */
  readonly path?: string;
  /** Path templates of the repositories that it may sign; absent: all. */
  readonly maySign?: readonly string[];
  /** Made by `keyringAt` for one repository and one instant; a signature by such a key makes nothing trusted. */
  readonly refusal?: KeyRefusal;
}

/**
 * Plain data, so that it can be sent to a worker. As it is read from the disk, one key may be there twice with different
 * scopes; `keyringAt` leaves one of each name.
 */
export interface Keyring {
  readonly keys: readonly TrustedKey[];
  /** Absent: every algorithm that apk accepts. */
  readonly algorithms?: readonly AlgorithmName[];
}

/** A directory of public keys and what they may sign; null: every repository of their inbox. */
export interface KeySource {
  readonly directory: string;
  readonly maySign: readonly string[] | null;
}

/** A key file or directory that cannot be used; the message says why and what to do. */
export interface KeyFault {
  readonly path: string;
  readonly message: string;
}

export interface KeyringReading {
  /** What is usable. */
  readonly keyring: Keyring;
  /** What is not: none of it is in the keyring. */
  readonly faults: readonly KeyFault[];
  /** Sidecars without a key. */
  readonly orphans: readonly string[];
}

/**
 * Reads every `*.pub` and `*.pem` file directly inside the directories, with its sidecar (hidden files are passed over, as apk does).
 * One fault takes nothing else away: the readable keys are in the keyring whatever lies beside them.
 */
export async function readKeyring(
  sources: readonly KeySource[],
  algorithms: readonly AlgorithmName[] | null = null,
): Promise<KeyringReading> {
  const faults: KeyFault[] = [];
  const orphans: string[] = [];
  const keys: (TrustedKey & { readonly path: string })[] = [];
  for (const source of sources) await readSource(source, { keys, faults, orphans });
  const usable: TrustedKey[] = [];
  for (const key of keys) {
    const other = keys.find(({ name, pem }) => name === key.name && pem !== key.pem);
    if (other === undefined) usable.push(key);
    else if (keys.indexOf(other) < keys.indexOf(key)) faults.push(sameName(key.path, other.path));
  }
  return { keyring: { keys: usable, ...(algorithms === null ? {} : { algorithms }) }, faults, orphans };
}

/** As `readKeyring` without scopes; throws an Error that names the file when anything in the directories cannot be used. */
export async function loadKeyring(
  directories: readonly string[],
  algorithms: readonly AlgorithmName[] | null = null,
): Promise<Keyring> {
  const sources = directories.map((directory) => ({ directory, maySign: null }));
  const { keyring, faults } = await readKeyring(sources, algorithms);
  const [fault] = faults;
  if (fault !== undefined) throw new Error(`${fault.path}: ${fault.message}`);
  return keyring;
}

function sameName(path: string, other: string): KeyFault {
  return {
    path,
    message: `another key of this name is in an earlier directory (${other}), so neither is used: remove or rename one of them`,
  };
}

interface Found {
  readonly keys: (TrustedKey & { readonly path: string })[];
  readonly faults: KeyFault[];
  readonly orphans: string[];
}

const sidecarSuffix = '.validity';

async function readSource({ directory, maySign }: KeySource, found: Found): Promise<void> {
  let names: string[];
  try {
    names = (await readdir(directory)).filter((name) => !name.startsWith('.')).sort();
  } catch (error) {
    found.faults.push({ path: directory, message: `the key directory cannot be read: ${messageOf(error)}` });
    return;
  }
  const files = names.filter((name) => /\.(?:pub|pem)$/.test(name));
  let seen = 0;
  for (const name of files) {
    const path = join(directory, name);
    try {
      const pem = await readKey(path);
      if (pem === undefined) continue;
      seen++;
      const validity = await readValidity(`${path}${sidecarSuffix}`);
      found.keys.push({ name, pem, path, ...(maySign === null ? {} : { maySign }), ...validity });
    } catch (error) {
      seen++;
      found.faults.push({
        path: error instanceof SidecarError ? `${path}${sidecarSuffix}` : path,
        message:
          error instanceof SidecarError
            ? `the key beside it is not used: ${messageOf(error)}: mend or remove the file`
            : `no usable public key: ${messageOf(error)}: put a PEM public key there or remove the file`,
      });
    }
  }
  if (seen === 0)
    found.faults.push({
      path: directory,
      message: 'no key in it: put the public keys (*.pub, *.pem) of the builders there',
    });
  for (const name of names)
    if (name.endsWith(sidecarSuffix) && !files.includes(name.slice(0, -sidecarSuffix.length)))
      found.orphans.push(join(directory, name));
}

const maxKeyBytes = 64 * 1024;

/** The key in one normal form, or undefined for what is no regular file. */
async function readKey(path: string): Promise<string | undefined> {
  const { size, isFile } = await stat(path).then((stats) => ({ size: stats.size, isFile: stats.isFile() }));
  if (!isFile) return undefined;
  if (size > maxKeyBytes) throw new Error(`it has ${size} bytes, expected at most ${maxKeyBytes}`);
  return readPublicKey(await readFile(path, 'latin1'));
}

class SidecarError extends Error {}

/** No sidecar: no limits. One that cannot be read: SidecarError, for a limit must not get lost. */
async function readValidity(path: string): Promise<Validity> {
  try {
    const stats = await stat(path);
    if (!stats.isFile() || stats.size > maxKeyBytes) throw new Error(`expected a file of at most ${maxKeyBytes} bytes`);
    return parseValidity(await readFile(path, 'utf8'));
  } catch (error) {
    // A link that leads nowhere is a sidecar that cannot be read, and no missing one.
    if (errnoOf(error) === 'ENOENT' && !(await lstat(path).catch(() => false))) return {};
    throw new SidecarError(messageOf(error), { cause: error });
  }
}
