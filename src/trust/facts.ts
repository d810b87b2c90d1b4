/** What verification finds out about a file, and the words in which it refuses one. */
import type { FormatError, VerificationCode } from '../errors.ts';

export interface Rejection {
  readonly verdict: 'rejected' | 'held';
  readonly code: VerificationCode;
  readonly detail: string;
}

export interface PackageFacts {
  readonly name: string;
  readonly version: string;
  /** Lower-case hex SHA-1 of the compressed control member. */
  readonly identity: string;
  /** What the package says of itself: an architecture, `noarch`, or null. */
  readonly arch: string | null;
  readonly size: number;
  /** Lower-case hex SHA-256 of the whole file. */
  readonly sha256: string;
  readonly mtimeSeconds: number;
  /** The name of the trusted key whose signature in the package is right; null if there was none or it was not looked at. */
  readonly signedBy: string | null;
}

export interface IndexFacts {
  /** Lower-case hex SHA-256 of the whole file. */
  readonly sha256: string;
  readonly size: number;
  readonly signedBy: string;
  /** Which key that was: its fingerprint, as `publicKeyFacts` has it. */
  readonly signedKey?: string;
  readonly description: string | null;
  readonly packages: number;
  /** The greatest `t:` in the index, unix seconds. */
  readonly newestBuildTime: number | null;
  readonly mtimeSeconds: number;
}

/** Something about an accepted index that an operator should know. */
export interface Warning {
  readonly code: VerificationCode;
  readonly detail: string;
}

export function reject(code: VerificationCode, detail: string): Rejection {
  // An empty repository is right by its format and most likely a mistake: a person decides.
  return { verdict: code === 'INDEX_EMPTY' ? 'held' : 'rejected', code, detail };
}

export function rejectionOf(error: FormatError): Rejection {
  return reject(error.code, error.message);
}
