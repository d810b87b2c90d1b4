/** The mirrors of the soak: a directory, the embedded SFTP server, and where they are installed sftp and rrsync behind a real sshd. */
import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createKeyPair, serveSftp } from '../../src/system/ssh-server.ts';
import { findProgram, missingProgram, startSshd } from '../support/sshd.ts';

export interface Fleet extends AsyncDisposable {
  /** YAML of the `mirrors:` entries, indented by two. */
  readonly yaml: string;
  /** Name -> absolute path of what the mirror serves. */
  readonly directories: ReadonlyMap<string, string>;
  /** The program for want of which there are fewer than four. */
  readonly missing: string | undefined;
}

interface Account {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly hostKeyFingerprint: string;
}

export async function startFleet(directory: string): Promise<Fleet> {
  await using stack = new AsyncDisposableStack();
  const directories = new Map<string, string>();
  const place = (name: string): string => {
    const path = join(directory, name);
    mkdirSync(path, { recursive: true });
    directories.set(name, path);
    return path;
  };
  const overSsh = (name: string, type: string, account: Account, path: string, identity: string): string => {
    const { host, port, user, hostKeyFingerprint } = account;
    return (
      `  - { name: ${name}, transport: { type: ${type}, host: ${host}, port: ${port}, user: ${user}, path: ${path}, ` +
      `identity: ${identity}, host_key: "${hostKeyFingerprint}" } }`
    );
  };
  const lines = [`  - { name: disk, transport: { type: directory, path: ${place('disk')} } }`];

  const { privateKey, publicKey } = createKeyPair();
  const keyFile = join(directory, 'embedded-key');
  await writeFile(keyFile, privateKey, { mode: 0o600 });
  const embedded = stack.use(await serveSftp({ root: place('embedded'), authorizedKey: publicKey, port: 0 }));
  lines.push(overSsh('embedded', 'sftp', { ...embedded, host: '127.0.0.1', user: 'soak' }, '/', keyFile));

  const missing = missingProgram('sshd', 'ssh-keygen', 'rsync', 'rrsync');
  if (missing === undefined) {
    const rsync = `${findProgram('rrsync') ?? ''} -wo ${place('rsync')}`;
    const sshd = stack.use(await startSshd({ sftp: 'internal-sftp', rsync }));
    lines.push(overSsh('sftp', 'sftp', sshd, place('sftp'), sshd.identity('sftp')));
    lines.push(overSsh('rsync', 'rsync', sshd, '/', sshd.identity('rsync')));
  }
  const all = stack.move();
  return { yaml: lines.join('\n'), directories, missing, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
