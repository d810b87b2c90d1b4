/** Which host keys a mirror shows, to be compared by a person with what its owner says; it decides nothing. */
import { createHash } from 'node:crypto';
import { child } from './init-steps.ts';

export interface HostKey {
  readonly type: string;
  /** `SHA256:…` as ssh-keygen -l prints it. */
  readonly fingerprint: string;
}

/** In the order in which our connections choose: the first is the one that they see. */
const preference = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa'];

/** Asks the host; empty when it does not answer within ten seconds. Throws OperationError without ssh-keyscan. */
export async function scanHostKeys(host: string, port: number): Promise<HostKey[]> {
  const { stdout } = await child(['ssh-keyscan', '-T', '10', '-p', `${port}`, '-t', 'ed25519,ecdsa,rsa', host]);
  return parseScan(stdout);
}

/** The lines of ssh-keyscan (`HOST TYPE BASE64`), best first. */
export function parseScan(text: string): HostKey[] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, type = '', base64 = '']) => preference.includes(type) && base64 !== '')
    .map(([, type = '', base64 = '']) => ({ type, fingerprint: fingerprintOf(base64) }))
    .sort((a, b) => preference.indexOf(a.type) - preference.indexOf(b.type));
}

function fingerprintOf(base64: string): string {
  const digest = createHash('sha256').update(Buffer.from(base64, 'base64')).digest('base64');
  return `SHA256:${digest.replace(/=+$/, '')}`;
}
