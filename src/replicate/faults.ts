/** What a failed push means: from exit codes, messages and status codes to a reason, a kind and a line for the operator. It acts on nothing. */
import type { FaultKind, PushFailureReason } from '../errors.ts';

export interface Fault {
  readonly reason: PushFailureReason;
  readonly kind: FaultKind;
  /** One line: what happened, and what to do about it. */
  readonly message: string;
}

/** What can be wrong, and what to do about it. */
type Cause = readonly [reason: PushFailureReason, kind: FaultKind, advice: string];

const lockHeld: Cause = [
  'busy',
  'busy',
  'another push holds the lock of rrsync there; if it stays, look for a second pusher',
];
const diskFull: Cause = ['disk_full', 'retryable', 'the disk of the mirror is full: its admin must make room'];
const readOnly: Cause = [
  'read_only',
  'permanent',
  'the file system of the mirror is read-only: its admin must look at it',
];
const noRoot: Cause = ['not_found', 'permanent', 'the directory is not there: is the disk mounted, is path right?'];
const notMounted: Cause = ['not_found', 'retryable', 'the directory is not there: is the disk mounted?'];
const inTheWay: Cause = [
  'not_found',
  'permanent',
  'a link or a file stands where a directory belongs, or the reverse: remove it',
];
const noRights: Cause = [
  'permission',
  'permanent',
  'the account may not do this there: check owner and mode at the mirror',
];
const foreignLink: Cause = [
  'permission',
  'permanent',
  'a link in the path belongs to another user: let root or the account own it',
];
const oneWay: Cause = [
  'option_refused',
  'permanent',
  'the account is restricted to the other direction: check -ro and -wo of rrsync',
];
const refusedOption: Cause = [
  'option_refused',
  'permanent',
  'the account refuses what we need: check path and its authorized_keys line',
];
const notOffered: Cause = ['option_refused', 'permanent', 'the server does not support what we need'];
const versions: Cause = ['option_refused', 'permanent', 'the two versions of rsync do not fit'];
const deleteLimit: Cause = [
  'option_refused',
  'permanent',
  'a limit on deletions stopped the run: look at what should go',
];
const badName: Cause = ['protocol', 'permanent', 'the server does not take this name or request'];
const noName: Cause = ['dns', 'retryable', 'the host name does not resolve: check it, and the name server'];
const nobodyThere: Cause = ['refused', 'retryable', 'nothing listens there: check host and port'];
const noWay: Cause = ['unreachable', 'retryable', 'there is no way to the host: check the network'];
const silent: Cause = ['timeout', 'retryable', 'the mirror does not answer'];
const wrongHostKey: Cause = ['host_key', 'security', 'the host key is not the pinned one: ask the admin of the mirror'];
const wrongKey: Cause = [
  'auth',
  'permanent',
  'the key is not accepted: check user, identity and authorized_keys there',
];
const noAlgorithm: Cause = [
  'protocol',
  'permanent',
  'no common algorithm: the SSH server there is too old or too strict',
];
const noRsync: Cause = [
  'remote_shell',
  'permanent',
  'the account does not run rsync: is it installed, does the shell print something?',
];
const noCommand: Cause = [
  'remote_shell',
  'permanent',
  'the account does not offer this: is it meant for this transport?',
];
const noSftp: Cause = [
  'protocol',
  'retryable',
  'the other side does not speak SFTP: does the account offer it or print something?',
];
const closed: Cause = ['closed', 'retryable', 'the connection or the program at the mirror ended early'];
const vanished: Cause = [
  'vanished',
  'retryable',
  'a file went away here while it was sent: if it stays, run lockstepd scrub on the primary',
];
const someFiles: Cause = ['partial', 'retryable', 'some files were not transferred'];
const badStream: Cause = ['protocol', 'retryable', 'the data stream broke: if it stays, compare the versions of rsync'];
const noFiles: Cause = ['local', 'permanent', 'rsync could not use the files named to it'];
const ownTrouble: Cause = ['local', 'retryable', 'rsync could not go on'];
const unclear: Cause = ['unknown', 'retryable', 'no reason is given: look into the log of the mirror'];

interface Rule {
  /** Exit codes that the rule is for; none means any. */
  readonly codes?: readonly number[];
  readonly says?: RegExp;
  readonly cause: Cause;
}

/** First match wins: messages before bare exit codes, because rsync ends with 12 for every refusal of rrsync. */
const rsyncRules: readonly Rule[] = [
  { says: /Another instance of rrsync/, cause: lockHeld },
  { says: /No space left on device|Disk quota exceeded/, cause: diskFull },
  { says: /Read-only file system/, cause: readOnly },
  // The rrsync of 3.2.3, a Perl script, says it without `is`.
  { says: /(?:reading from write-only|sending to read-only) server (?:is )?not allowed/, cause: oneWay },
  {
    says: /has been disabled on this server|invalid rsync-command|do not use \.\.|unsafe arg|unknown option/,
    cause: refusedOption,
  },
  // rrsync 3.5 opens its directory for the lock before it looks whether it is there.
  { says: /Restricted directory does not exist|in lock_or_die[^]*FileNotFoundError/, cause: noRoot },
  { says: /(?:mkdir|change_dir).*failed: No such file or directory/, cause: noRoot },
  { says: /\[sender\] (?:link_stat|send_files failed to open) .*No such file or directory/, cause: vanished },
  { says: /Too many levels of symbolic links|Not a directory|Is a directory/, cause: inTheWay },
  { says: /refusing to follow a symlink owned by an untrusted user/, cause: foreignLink },
  { codes: [255], says: /Could not resolve hostname/, cause: noName },
  { codes: [255], says: /Connection refused/, cause: nobodyThere },
  { codes: [255], says: /timed out/i, cause: silent },
  { codes: [255], says: /Host key verification failed/, cause: wrongHostKey },
  { codes: [255], says: /Permission denied \(/, cause: wrongKey },
  { says: /is your shell clean|sftp connections only|account is (?:currently )?not available/, cause: noRsync },
  { says: /rr?sync: (?:command )?not found/, cause: noRsync },
  { says: /Permission denied|Operation not permitted/, cause: noRights },
  { codes: [30, 35], cause: silent },
  { codes: [10], cause: closed },
  { codes: [24], cause: vanished },
  { codes: [25], cause: deleteLimit },
  { codes: [1, 2, 4], cause: versions },
  { codes: [3], cause: noFiles },
  { codes: [124, 125, 126, 127], cause: noRsync },
  { says: /closed by remote host|Broken pipe|Connection reset|connection unexpectedly closed/, cause: closed },
  { codes: [23], cause: someFiles },
  { codes: [12], cause: badStream },
  { codes: [11, 13, 14, 19, 20, 21, 22], cause: ownTrouble },
];

export interface RsyncOutcome {
  /** Exit code of the local rsync, null when a signal ended it. */
  readonly code: number | null;
  /** Exit code of the command at the mirror, null when it did not tell one. */
  readonly remoteCode: number | null;
  /** Both sides' stderr, already escaped for a terminal. */
  readonly stderr: string;
}

/** Classifies a run of rsync of which one end did not end with 0. */
export function rsyncFault({ code, remoteCode, stderr }: RsyncOutcome): Fault {
  // The shell at the mirror first (124 to 127), then our rsync, then the one at the mirror.
  const shell = remoteCode !== null && remoteCode >= 124 && remoteCode <= 127;
  const shown = shell || code === 0 ? remoteCode : code;
  const rule = rsyncRules.find(
    ({ codes, says }) => (!codes || (shown !== null && codes.includes(shown))) && (says?.test(stderr) ?? true),
  );
  const cause = rule?.cause ?? (shown === null ? closed : unclear);
  return faultOf(cause, `rsync ended with ${shown ?? 'no exit code'}`, stderr);
}

/** What is known of an error of the SSH connection. */
export interface SshFailure {
  /** `code` of a socket error. */
  readonly code?: string | undefined;
  /** `level` of an error of ssh2. */
  readonly level?: string | undefined;
  /** Already escaped for a terminal. */
  readonly message: string;
}

const socketCauses: Readonly<Record<string, Cause>> = {
  ECONNREFUSED: nobodyThere,
  ENOTFOUND: noName,
  EAI_AGAIN: noName,
  ETIMEDOUT: silent,
  EHOSTUNREACH: noWay,
  ENETUNREACH: noWay,
  EHOSTDOWN: noWay,
};

/** By `level` and message of ssh2 1.17; first match wins. */
const sshRules: readonly { readonly level?: string; readonly says?: RegExp; readonly cause: Cause }[] = [
  { level: 'client-timeout', cause: silent },
  { level: 'client-authentication', cause: wrongKey },
  { says: /Host denied \(verification failed\)/, cause: wrongHostKey },
  { says: /no matching|Unsupported algorithm/i, cause: noAlgorithm },
  { says: /Unable to (?:exec|start subsystem)/, cause: noCommand },
  { says: /not an SFTP|SFTP (?:packet|answer|field|handle)/, cause: noSftp },
];

/** Classifies an error of the connection; without a better idea it was closed. */
export function sshFault({ code, level, message }: SshFailure): Fault {
  const rule = sshRules.find(
    (one) => (one.level === undefined || one.level === level) && (one.says?.test(message) ?? true),
  );
  const cause = (code === undefined ? undefined : socketCauses[code]) ?? rule?.cause ?? closed;
  return faultOf(cause, 'SSH connection', message);
}

const noTrigger: Cause = ['remote_shell', 'permanent', 'the command cannot be run there: check authorized_keys'];
const pullBusy: Cause = ['busy', 'busy', 'the mirror cannot pull now: it says to try again later'];
const pullFailed: Cause = ['unknown', 'retryable', 'the mirror could not start to pull: its admin must look at it'];

/** Classifies how a command that tells a mirror to pull has ended; `said` is already escaped. 75 is EX_TEMPFAIL of sysexits(3). */
export function triggerFault(code: number | null, said: string): Fault {
  const shell = code === 126 || code === 127;
  const cause = code === null ? closed : shell ? noTrigger : code === 75 ? pullBusy : pullFailed;
  return faultOf(cause, `trigger ended with ${code ?? 'no exit code'}`, said);
}

/** What is known of an SFTP request that was refused. */
export interface SftpRefusal {
  /** SSH_FX_* code, draft-ietf-secsh-filexfer-02 section 7. */
  readonly status: number;
  /** Already escaped for a terminal. */
  readonly message: string;
  /** What statvfs said, asked only for code 4, which hides a full disk as well as a read-only one. */
  readonly space?: { readonly full: boolean; readonly readOnly: boolean } | undefined;
}

const sftpCauses: Readonly<Record<number, Cause>> = {
  2: noRoot,
  3: noRights,
  5: badName,
  6: closed,
  7: closed,
  8: notOffered,
};

/** Classifies a refused SFTP request. */
export function sftpFault({ status, message, space }: SftpRefusal): Fault {
  const bySpace = space?.readOnly ? readOnly : space?.full ? diskFull : undefined;
  return faultOf(bySpace ?? sftpCauses[status] ?? unclear, 'SFTP', message);
}

const localCauses: Readonly<Record<string, Cause>> = {
  ENOSPC: diskFull,
  EDQUOT: diskFull,
  EROFS: readOnly,
  EACCES: noRights,
  EPERM: noRights,
  ENOENT: notMounted,
  ENOTDIR: inTheWay,
  ELOOP: inTheWay,
  EISDIR: inTheWay,
};

/** Classifies a system error of a mirror on a local or mounted file system. `message` is already escaped. */
export function localFault(code: string | undefined, message: string): Fault {
  return faultOf((code === undefined ? undefined : localCauses[code]) ?? unclear, 'directory', message);
}

/** What the other side said is quoted up to this many characters. */
const quoteLimit = 300;

function faultOf([reason, kind, advice]: Cause, what: string, said: string): Fault {
  // Of a failure of Python only the last line tells something.
  const told = said.replace(/Traceback \(most recent call last\):[^]*?(?=\b\w+(?:Error|Exception): )/, '');
  const flat = told.replace(/(?:\\u\{a\}|\s)+/g, ' ').trim();
  const cut = flat.length > quoteLimit ? `${flat.slice(0, quoteLimit)}…` : flat;
  return { reason, kind, message: cut === '' ? `${what}: ${advice}` : `${what}: ${advice} (${cut})` };
}
