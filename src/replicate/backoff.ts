/** How long a mirror is left alone after a failure: by what it failed of and how often. Pure. */
import { type FaultKind, messageOf, type PushFailureReason, TransportError } from '../errors.ts';

export interface Failure {
  readonly kind: FaultKind;
  readonly reason: PushFailureReason;
  readonly message: string;
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

/** No mirror is tried more often, whatever asks for it. */
export const paceMs = second;
/** The longest wait for a mirror that may mend by itself. */
export const waitCapMs = 15 * minute;
/** The longest time until a mirror that needs a person is looked at again, in case that somebody has mended it. */
export const recheckCapMs = 6 * hour;
/** After so many failures in a row a mirror is asked for something cheap before it is pushed to again: the breaker is open. */
export const breakerFailures = 5;

const baseMs = 5 * second;
const busyMs = { from: 15 * second, to: minute };
const diskFullMs = { from: 12 * minute, to: waitCapMs };
const readOnlyMs = { from: 54 * minute, to: hour };
const recheckMs = { from: 0.9 * recheckCapMs, to: recheckCapMs };

/** True when nothing but a person can mend it. A file system that went read-only is mostly a broken disk. */
export function needsPerson({ kind, reason }: Failure): boolean {
  return kind === 'permanent' || kind === 'security' || reason === 'read_only';
}

/**
 * The wait after `failure`, the `failures`-th in a row, in milliseconds; `random` in [0, 1). Full jitter: mirrors that failed
 * together do not come back together. What another run at the mirror's lock, a full disk or a person decides does not
 * get worse by being tried again, so those waits do not grow.
 */
export function delayMs(failure: Failure, failures: number, random: number): number {
  const within = ({ from, to }: { readonly from: number; readonly to: number }): number => from + (to - from) * random;
  if (failure.reason === 'read_only') return within(readOnlyMs);
  if (needsPerson(failure)) return within(recheckMs);
  if (failure.kind === 'busy') return within(busyMs);
  if (failure.reason === 'disk_full') return within(diskFullMs);
  const step = Math.min(waitCapMs, baseMs * 2 ** Math.min(Math.max(0, failures - 1), 20));
  return Math.max(paceMs, step * random);
}

/** What a push failed of, whatever was thrown. */
export function failureOf(error: unknown): Failure {
  if (error instanceof TransportError) return { kind: error.kind, reason: error.reason, message: error.message };
  return { kind: 'retryable', reason: 'local', message: messageOf(error) };
}
