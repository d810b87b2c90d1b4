/** Reads what `lockstepd init` is told: names, paths and keys that end up in files of other programs, so that nothing in them needs quotes. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { messageOf, UsageError } from '../errors.ts';
import { readPublicKey } from '../trust/public-key.ts';

export interface PublicKeyFile {
  readonly name: string;
  readonly text: string;
}

/** The value of `option` if it is a plain path. Throws UsageError. */
export function plainPathOf(command: string, option: string, value: string): string {
  const path = value.length > 1 ? value.replace(/\/+$/, '') : value;
  if (/^(?:\/[\w.@+-]+)+$/.test(path) && !path.split('/').some((part) => part === '..' || part === '.')) return path;
  throw new UsageError(
    `${command}: ${option} ${JSON.stringify(value)}: expected an absolute path of letters, digits and . _ @ + -`,
  );
}

/** Throws UsageError for a path that the service cannot see: its unit hides the homes (ProtectHome). */
export function requireSeen(command: string, path: string): void {
  if (!/^\/(?:home|root|run\/user)\//.test(path)) return;
  throw new UsageError(
    `${command}: ${path}: the service does not see homes: expected a directory elsewhere, such as one below /srv`,
  );
}

/** The value of `option` if it is a plain name, of a host, an account or a thing of ours. Throws UsageError. */
export function plainNameOf(command: string, option: string, value: string, most = 63): string {
  if (value.length <= most && /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(value)) return value;
  throw new UsageError(
    `${command}: ${option} ${JSON.stringify(value)}: expected up to ${most} letters, digits, dots, dashes and underscores`,
  );
}

/** The public keys for ssh in each of `values`, a file or the key itself: `TYPE BASE64 COMMENT`. Throws UsageError. */
export async function sshKeysOf(command: string, option: string, values: readonly string[]): Promise<string[]> {
  const keys: string[] = [];
  for (const value of values) {
    const text = /^\S+ \S/.test(value) ? value : await textOfFile(command, option, value);
    const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
    const wrong = lines.length === 0 || !lines.every(isSshKey);
    if (wrong)
      throw new UsageError(
        `${command}: ${option} ${shown(value)}: expected a public key for ssh such as "ssh-ed25519 AAAA… builder", or a file of such`,
      );
    keys.push(...lines.map((line) => line.trim()));
  }
  return keys;
}

/** The type is said twice, in words and in the first bytes of the key. */
function isSshKey(line: string): boolean {
  const [, type = '', base64 = ''] = /^([a-z][\w@.-]+) ([A-Za-z0-9+/]+={0,2})(?: [\w@.+:-]*)*\s*$/.exec(line) ?? [];
  const blob = Buffer.from(base64, 'base64');
  return blob.length > 4 && blob.subarray(4, 4 + blob.readUInt32BE(0)).toString('latin1') === type;
}

/** The keys of a repository in these files, under the names of the files. Throws UsageError for one that cannot be trusted. */
export async function trustKeysOf(command: string, files: readonly string[]): Promise<PublicKeyFile[]> {
  const keys: PublicKeyFile[] = [];
  for (const file of files) {
    const [name, text] = [basename(file), await textOfFile(command, '--trust-key', file)];
    if (!/^[\w@+][\w.@+-]*\.(?:pub|pem)$/.test(name))
      throw new UsageError(
        `${command}: --trust-key ${shown(file)}: expected a file named *.pub or *.pem: signatures name the key by it`,
      );
    try {
      readPublicKey(text);
    } catch (error) {
      throw new UsageError(`${command}: --trust-key ${shown(file)}: ${messageOf(error)}`);
    }
    keys.push({ name, text });
  }
  return keys;
}

async function textOfFile(command: string, option: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${command}: ${option} ${shown(file)}: cannot be read (${messageOf(error).replace(/,.*$/s, '')})`,
    );
  }
}

function shown(value: string): string {
  return value.length > 60 ? `${value.slice(0, 60)}…` : value;
}
