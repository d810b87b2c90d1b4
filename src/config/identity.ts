/** Files that hold a secret: named by a path, or handed over by systemd as a credential. */
import { join } from 'node:path/posix';
import { describe } from './fields.ts';
import { plainPath } from './names.ts';
import type { Parsed } from './units.ts';

/** Where a service finds its credentials when systemd does not say so otherwise: systemd.exec(5), LoadCredential=. */
export const serviceCredentials = '/run/credentials/lockstepd.service';

/** The file that `identity` names: an absolute path, or the credential of that name where systemd puts it. */
export function identityPath(identity: string, credentialsDirectory: string | null): string {
  const credential = credentialName(identity);
  return credential === null ? identity : join(credentialsDirectory ?? serviceCredentials, credential);
}

/** NAME of `credential:NAME`, or null for a plain path. */
export function credentialName(identity: string): string | null {
  return identity.startsWith('credential:') ? identity.slice('credential:'.length) : null;
}

export const identityExample = 'an absolute path or credential:NAME';
export function parseIdentity(written: string): Parsed<string> {
  if (/^credential:[A-Za-z0-9][A-Za-z0-9._-]*$/.test(written)) return { value: written };
  return written.startsWith('/')
    ? plainPath(written)
    : { problem: `${describe(written)}, expected ${identityExample}` };
}
