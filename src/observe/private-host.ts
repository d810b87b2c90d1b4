/** Decides which hosts are only reached from within a private network: users cannot fetch from them, and their names are nobody's business. Pure. */

/** Never delegated on the public Internet (RFC 6761, RFC 6762, RFC 8375, ICANN's list of reserved names), or in wide use within networks. */
const privateNames = /(?:^|\.)(?:localhost|localdomain|local|internal|intranet|private|corp|home|lan|home\.arpa)$/;
/** "This" network, private (RFC 1918), shared (RFC 6598), loopback, link-local. */
const privateIpv4 =
  /^(?:0|10|127|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01])|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./;
/** Unspecified, loopback, unique local (RFC 4193), link-local, and IPv4 written as IPv6. */
const privateIpv6 = /^\[(?:::1?\]|f[cd][\da-f]{2}:|fe[89ab][\da-f]:|::ffff:)/;

/** `hostname` as the class URL writes it: in lower case, addresses in their one form, IPv6 in brackets. */
export function isPrivateHost(hostname: string): boolean {
  const name = hostname.replace(/\.$/, '');
  if (name.startsWith('[')) return privateIpv6.test(name);
  if (/^[\d.]+$/.test(name)) return privateIpv4.test(name);
  return !name.includes('.') || privateNames.test(name);
}
