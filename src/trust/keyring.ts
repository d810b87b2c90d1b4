/** Loads the public keys that are trusted; a key is found by comparing its name as a string, never by building a path from it. */
import { createPublicKey } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';

/** Plain data, so that it can be sent to a worker. */
export interface Keyring {
  readonly keys: readonly { readonly name: string; readonly pem: string }[];
}

/**
 * Reads every `*.pub` and `*.pem` file directly inside the directories (hidden files are passed over, as apk does). Throws an Error that
 * names the file when one cannot be used, when a directory holds no key, or when two keys have one name.
 */
export async function loadKeyring(directories: readonly string[]): Promise<Keyring> {
  const keys = new Map<string, string>();
  for (const directory of directories) {
    for (const [name, pem] of await readKeys(directory)) {
      const other = keys.get(name);
      if (other !== undefined && other !== pem) {
        throw new Error(
          `${join(directory, name)}: another key of this name is in an earlier directory: remove or rename one of them`,
        );
      }
      keys.set(name, pem);
    }
  }
  return { keys: [...keys].map(([name, pem]) => ({ name, pem })) };
}

async function readKeys(directory: string): Promise<[string, string][]> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw new Error(`${directory}: the key directory cannot be read: ${messageOf(error)}`, { cause: error });
  });
  const keys: [string, string][] = [];
  for (const name of names.sort()) {
    if (name.startsWith('.') || !/\.(?:pub|pem)$/.test(name)) continue;
    const path = join(directory, name);
    const pem = await readKey(path).catch((error: unknown) => {
      throw new Error(
        `${path}: no usable public key: ${messageOf(error)}: put a PEM public key there or remove the file`,
        {
          cause: error,
        },
      );
    });
    if (pem !== undefined) keys.push([name, pem]);
  }
  if (keys.length === 0)
    throw new Error(`${directory}: no key in it: put the public keys (*.rsa.pub) of the builders there`);
  return keys;
}

const maxKeyBytes = 64 * 1024;

/** The key in one normal form, or undefined for what is no regular file. */
async function readKey(path: string): Promise<string | undefined> {
  const { size, isFile } = await stat(path).then((stats) => ({ size: stats.size, isFile: stats.isFile() }));
  if (!isFile) return undefined;
  if (size > maxKeyBytes) throw new Error(`it has ${size} bytes, expected at most ${maxKeyBytes}`);
  const text = await readFile(path, 'latin1');
  // createPublicKey would also take a private key and derive the public one; a private key does not belong here.
  if (!/^-----BEGIN PUBLIC KEY-----/m.test(text)) throw new Error('expected a line "-----BEGIN PUBLIC KEY-----"');
  return createPublicKey(text).export({ type: 'spki', format: 'pem' }).toString();
}
