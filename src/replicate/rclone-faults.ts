/** What a failed run of rclone means: from its exit code and messages to a reason, a kind and a line for the operator. Pure. */
import type { FaultKind, PushFailureReason } from '../errors.ts';
import type { Fault } from './faults.ts';

interface Rule {
  readonly codes?: readonly number[];
  readonly says?: RegExp;
  readonly reason: PushFailureReason;
  readonly kind: FaultKind;
  readonly advice: string;
}

/** First match wins: rclone ends with 1 for most things, so its messages come first. Exit codes: rclone(1), "Exit code". */
const rules: readonly Rule[] = [
  {
    says: /didn't find section in config file/,
    reason: 'local',
    kind: 'permanent',
    advice: 'the configuration of rclone has no remote of that name: check remote and config',
  },
  {
    says: /(?:load|read|open)[^:]*config|[Cc]onfig file .*(?:not found|permission|no such)|decrypt config/,
    reason: 'local',
    kind: 'permanent',
    advice: 'the configuration of rclone cannot be read: check config, which must not be encrypted',
  },
  {
    says: /unknown (?:flag|command)|flag .* not defined/,
    reason: 'local',
    kind: 'permanent',
    advice: 'this rclone does not know what we need: 1.60 or newer must be installed',
  },
  {
    says: /no space left on device|too big for remaining disk space|disk quota exceeded|507 |Insufficient Storage|[Qq]uota ?[Ee]xceeded/,
    reason: 'disk_full',
    kind: 'retryable',
    advice: 'the mirror is full: its admin must make room',
  },
  {
    says: /read-only file system/,
    reason: 'read_only',
    kind: 'permanent',
    advice: 'the file system of the mirror is read-only: its admin must look at it',
  },
  {
    says: /no such host|server misbehaving/,
    reason: 'dns',
    kind: 'retryable',
    advice: 'the host name does not resolve',
  },
  {
    says: /connection refused/,
    reason: 'refused',
    kind: 'retryable',
    advice: 'nothing listens there: check host and port',
  },
  {
    says: /no route to host|network is unreachable/,
    reason: 'unreachable',
    kind: 'retryable',
    advice: 'there is no way to the host: check the network',
  },
  {
    says: /x509:|tls: failed to verify|certificate (?:is|has|signed)/,
    reason: 'host_key',
    kind: 'security',
    advice: 'the certificate of the server cannot be trusted: ask its admin',
  },
  {
    says: /\b401\b|InvalidAccessKeyId|SignatureDoesNotMatch|invalid_grant|[Uu]nauthorized|[Bb]ad ?[Cc]redentials/,
    reason: 'auth',
    kind: 'permanent',
    advice: 'the credentials are not accepted: check the remote in the configuration of rclone',
  },
  {
    says: /\b403\b|AccessDenied|[Ff]orbidden|permission denied|operation not permitted/,
    reason: 'permission',
    kind: 'permanent',
    advice: 'the account may not do this there: check its rights',
  },
  {
    says: /\b429\b|\b503\b|SlowDown|TooManyRequests|rate ?limit/i,
    reason: 'busy',
    kind: 'busy',
    advice: 'the mirror wants less requests: it is tried again in a moment',
  },
  {
    says: /i\/o timeout|deadline exceeded|timed out|timeout/i,
    reason: 'timeout',
    kind: 'retryable',
    advice: 'the mirror does not answer',
  },
  {
    says: /connection reset|unexpected EOF|: EOF|broken pipe|use of closed/,
    reason: 'closed',
    kind: 'retryable',
    advice: 'the connection ended early',
  },
  {
    says: /can't move file onto non-file|not a directory|is a directory|file exists/,
    reason: 'not_found',
    kind: 'permanent',
    advice: 'a link or a file stands where a directory belongs, or the reverse: remove it',
  },
  {
    says: /NoSuchBucket|directory not found/,
    reason: 'not_found',
    kind: 'permanent',
    advice: 'the directory or bucket is not there: is the disk mounted, is remote right?',
  },
  {
    codes: [3],
    reason: 'not_found',
    kind: 'permanent',
    advice: 'the directory or bucket is not there: is the disk mounted, is remote right?',
  },
  {
    says: /corrupted on transfer/,
    reason: 'partial',
    kind: 'retryable',
    advice: 'what arrived is not what was sent: it is sent again',
  },
  {
    says: /source file is being updated|no such file or directory|object not found/,
    reason: 'vanished',
    kind: 'retryable',
    advice: 'a file went away while it was sent: the next try plans anew',
  },
  { codes: [4], reason: 'vanished', kind: 'retryable', advice: 'a file went away: the next try plans anew' },
  { codes: [5], reason: 'partial', kind: 'retryable', advice: 'the mirror could not take everything for now' },
];

/** Classifies a run that did not end with 0; `code` null: a signal ended it. `said` is already escaped for a terminal. */
export function rcloneFault(code: number | null, said: string): Fault {
  const rule = rules.find(
    ({ codes, says }) => (!codes || (code !== null && codes.includes(code))) && (says?.test(said) ?? true),
  );
  const { reason, kind, advice } = rule ?? {
    reason: code === null ? 'closed' : 'unknown',
    kind: 'retryable',
    advice: 'no reason is known: run rclone by hand with the same remote',
  };
  const flat = said.replace(/(?:\\u\{a\}|\s)+/g, ' ').trim();
  const cut = flat.length > quoteLimit ? `${flat.slice(0, quoteLimit)}…` : flat;
  const message = `rclone ended with ${code ?? 'no exit code'}: ${advice}`;
  return { reason, kind, message: cut === '' ? message : `${message} (${cut})` };
}

/** What rclone said is quoted up to this many characters. */
const quoteLimit = 300;
