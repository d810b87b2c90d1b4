/** Whether the programs that lockstepd runs on and runs are there and new enough. Pure. */
import { fail, type Finding, ok, warn } from './finding.ts';

export interface ProgramFacts {
  readonly node: string;
  readonly kernel: string;
  /** Version, or null where there is none. */
  readonly rsync: string | null;
  /** Null: there is none; `options` are those that its help names. */
  readonly rrsync: { readonly path: string; readonly options: readonly string[] } | null;
  readonly sshd: string | null;
  readonly rclone: string | null;
  readonly uses: {
    /** A mirror of type rsync. */
    readonly rsyncMirrors: boolean;
    readonly rcloneMirrors: boolean;
    /** Builders or upstreams that come as accounts of their own. */
    readonly uploads: boolean;
  };
}

const oldestNode = '24.12';
const oldestRsync = '3.5';
const oldestRclone = '1.60';
/** The oldest kernel that is still maintained upstream. */
const oldestKernel = '5.10';
/** What config/sshd uses, and why it matters there. */
const neededOptions = ['-wo', '-munge', '-no-del'];

export function judgePrograms(facts: ProgramFacts): Finding[] {
  const { node, kernel, uses } = facts;
  return [
    isAtLeast(node, oldestNode)
      ? ok('node', node)
      : fail('node', `${node} is too old`, `install Node ${oldestNode} or newer, or use the one of the package`),
    isAtLeast(kernel, oldestKernel)
      ? ok('kernel', kernel)
      : warn('kernel', `${kernel} is not maintained any more`, `upgrade to Linux ${oldestKernel} or newer`),
    ...(uses.rsyncMirrors || uses.uploads ? [judgeRsync(facts.rsync)] : []),
    ...(uses.uploads ? [judgeRrsync(facts.rrsync), judgeSshd(facts.sshd)] : []),
    ...(uses.rcloneMirrors ? [judgeRclone(facts.rclone)] : []),
  ];
}

function judgeRsync(version: string | null): Finding {
  const remedy = `install rsync ${oldestRsync} or newer (on Debian 12 from bookworm-security)`;
  if (version === null) return fail('rsync', 'is not installed', remedy);
  return isAtLeast(version, oldestRsync) ? ok('rsync', version) : fail('rsync', `${version} is too old`, remedy);
}

function judgeRrsync(rrsync: ProgramFacts['rrsync']): Finding {
  if (rrsync === null)
    return fail('rrsync', 'is not installed, so builders have no way in', `install rsync ${oldestRsync} or newer`);
  const missing = neededOptions.filter((option) => !rrsync.options.includes(option));
  if (missing.length === 0) return ok('rrsync', `${rrsync.path} knows ${rrsync.options.join(' ')}`);
  return fail(
    'rrsync',
    `${rrsync.path} does not know ${missing.join(' ')}`,
    `install rsync ${oldestRsync} or newer, and python3, which its rrsync needs`,
  );
}

function judgeSshd(version: string | null): Finding {
  return version === null
    ? warn('sshd', 'is not installed, so builders cannot come over ssh', 'install openssh-server')
    : ok('sshd', version);
}

function judgeRclone(version: string | null): Finding {
  const remedy = `install rclone ${oldestRclone} or newer`;
  if (version === null) return fail('rclone', 'is not installed, and a mirror needs it', remedy);
  return isAtLeast(version, oldestRclone) ? ok('rclone', version) : fail('rclone', `${version} is too old`, remedy);
}

/** Compares the numbers of two versions, `6.1.0-13-amd64` with `5.10`. */
export function isAtLeast(version: string, wanted: string): boolean {
  const numbers = (text: string): number[] => (/\d+(?:\.\d+)*/.exec(text)?.[0] ?? '0').split('.').map(Number);
  const [have, need] = [numbers(version), numbers(wanted)];
  for (const [index, part] of need.entries()) {
    const difference = (have[index] ?? 0) - part;
    if (difference !== 0) return difference > 0;
  }
  return true;
}
