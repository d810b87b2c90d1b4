/** Every way in which lockstepd can fail or refuse: the closed sets of codes, the error classes, and what may be tried again. */

/** Why a file, an index or a batch was not accepted (closed set, public API: see README, "Codes"). */
export const verificationCodes = [
  'SIG_UNTRUSTED',
  'SIG_BAD',
  'SIG_ALGORITHM',
  'CONTROL_MISMATCH',
  'DATA_MISMATCH',
  'SIZE_MISMATCH',
  'IDENTITY_NAME',
  'IDENTITY_MISMATCH',
  'INDEX_ARCH',
  'INDEX_CHECKSUM',
  'INDEX_DUPLICATE',
  'INDEX_EMPTY',
  'INDEX_FIELD',
  'INDEX_NAME',
  'INDEX_SYNTAX',
  'INDEX_VERSION',
  'FORMAT_CONTROL',
  'FORMAT_GZIP',
  'FORMAT_INDEX',
  'FORMAT_MEMBERS',
  'FORMAT_SIGNATURE',
  'FORMAT_TAR',
  'FORMAT_TRAILING',
  'FORMAT_UNSUPPORTED',
  'PKGINFO_DATAHASH',
  'PKGINFO_SYNTAX',
  'ADB_BLOCK',
  'ADB_COMPRESSION',
  'ADB_DATA_HASH',
  'ADB_PADDING',
  'ADB_SCHEMA',
  'DATA_PATH',
  'PACKAGE_MISSING',
  'TRUNCATED',
  'LIMIT',
  'MASS_REMOVAL',
  'DOWNGRADE',
  'REBUILT',
  'REPOSITORY_VANISHED',
  'APPROVAL',
  'OUT_OF_SCOPE',
  'CHANGED_WHILE_READING',
  'NOT_REGULAR',
  'NAME',
  'QUOTA',
  'DISK',
  'INCOMPLETE',
  'REPLAY',
  'RECALLED',
] as const;
export type VerificationCode = (typeof verificationCodes)[number];

/** What a push failed of (closed set: the `reason` label of `lockstep_push_failures_total`). */
export const pushFailureReasons = [
  'dns',
  'refused',
  'unreachable',
  'timeout',
  'closed',
  'auth',
  'host_key',
  'busy',
  'disk_full',
  'read_only',
  'permission',
  'not_found',
  'option_refused',
  'remote_shell',
  'vanished',
  'partial',
  'protocol',
  'local',
  'drifted',
  'ahead',
  'content_unknown',
  'unknown',
] as const;
export type PushFailureReason = (typeof pushFailureReasons)[number];

/** How a failed push goes on: try again soon, try again in a moment, wait for a person, wait for a person and raise an alarm. */
export type FaultKind = 'retryable' | 'busy' | 'permanent' | 'security';

/** A mirror could not be reached, read or written. `message` is one line for the operator that says what to do. */
export class TransportError extends Error {
  readonly reason: PushFailureReason;
  readonly kind: FaultKind;

  constructor(reason: PushFailureReason, kind: FaultKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TransportError';
    this.reason = reason;
    this.kind = kind;
  }
}

/** Where and what is wrong in a configuration; line and column count from 1. */
export interface ConfigProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly key: string;
  readonly message: string;
}

/** The configuration cannot be used; carries every problem at once. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map((p) => `${p.file}:${p.line}:${p.column}: ${p.key}: ${p.message}`).join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** The command line was wrong; exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** A named step on our own disk, or a daemon that does not answer; the message says what, why and what to do. */
export class OperationError extends Error {
  readonly code: 'DISK_FULL' | 'LAYOUT' | 'STATE' | 'UNREACHABLE' | 'TIMEOUT' | 'CHILD';

  constructor(code: OperationError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OperationError';
    this.code = code;
  }
}

/** Bytes that break a rule of their format, thrown deep inside a parser; verification turns it into a rejection. */
export class FormatError extends Error {
  readonly code: VerificationCode;

  constructor(code: VerificationCode, message: string) {
    super(message);
    this.name = 'FormatError';
    this.code = code;
  }
}

/** True when the same push may succeed later without anybody doing anything. */
export function isTransient(error: unknown): boolean {
  return error instanceof TransportError && (error.kind === 'retryable' || error.kind === 'busy');
}

/** The `code` of a Node system error, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** One line of text for any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
