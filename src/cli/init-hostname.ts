/** Finds the name of this host that others are told, where nobody says it. */
import { hostname } from 'node:os';
import { child } from './init-steps.ts';

/** The full name where the system knows one: Debian's own name of a host is only its first part, by which nobody else finds it. */
export async function ownHostname(): Promise<string> {
  const own = hostname();
  if (own.includes('.')) return own;
  const { code, stdout } = await child(['hostname', '--fqdn']).catch(() => ({ code: 1, stdout: '' }));
  return code === 0 ? fullName(own, stdout.trim()) : own;
}

/** What the system calls full may as well be localhost, by a line of /etc/hosts. */
export function fullName(own: string, full: string): string {
  return full.startsWith(`${own}.`) ? full : own;
}
