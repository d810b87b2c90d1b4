/**
 * What a mirror's worker does next: a pure state machine over what happened.
 *
 *              started                 succeeded
 *    idle ----------------> pushing -----------------> idle
 *      ^                     |    | failed (transient)            until is over, or pushed by hand
 *      |                     |    +----------> waiting ---------------------------> pushing
 *      |                     | failed (needs a person)
 *      |                     +---------------> blocked ---(cheap new try from time to time)---> pushing
 */
import { type FaultKind, messageOf, type PushFailureReason, TransportError } from '../errors.ts';

export interface Failure {
  readonly kind: FaultKind;
  readonly reason: PushFailureReason;
  readonly message: string;
}

export type MirrorPhase =
  | { readonly phase: 'idle' }
  | { readonly phase: 'pushing'; readonly failures: number; readonly lastFailure: Failure | null }
  | {
      readonly phase: 'waiting' | 'blocked';
      readonly untilMs: number;
      readonly failures: number;
      readonly lastFailure: Failure;
    };

export type MirrorEvent =
  | { readonly kind: 'started' }
  /** A try failed, and the same push tries again: what it failed of is known already. */
  | { readonly kind: 'retried'; readonly failure: Failure }
  | { readonly kind: 'succeeded' }
  /** `random` in [0, 1): full jitter, so that mirrors that failed together do not come back together. */
  | { readonly kind: 'failed'; readonly failure: Failure; readonly nowMs: number; readonly random: number };

const baseMs: Readonly<Record<FaultKind, number>> = {
  retryable: 5_000,
  busy: 15_000,
  permanent: 60_000,
  security: 60_000,
};
const capMs: Readonly<Record<FaultKind, number>> = {
  retryable: 15 * 60_000,
  busy: 60_000,
  permanent: 3_600_000,
  security: 3_600_000,
};

export function nextPhase(state: MirrorPhase, event: MirrorEvent): MirrorPhase {
  switch (event.kind) {
    case 'started':
      return { phase: 'pushing', failures: failuresOf(state), lastFailure: lastFailureOf(state) };
    case 'retried':
      return { phase: 'pushing', failures: failuresOf(state), lastFailure: event.failure };
    case 'succeeded':
      return { phase: 'idle' };
    case 'failed': {
      const failures = failuresOf(state) + 1;
      const { kind } = event.failure;
      const needsPerson = kind === 'permanent' || kind === 'security';
      return {
        phase: needsPerson ? 'blocked' : 'waiting',
        untilMs: event.nowMs + delayMs(kind, failures, event.random),
        failures,
        lastFailure: event.failure,
      };
    }
    default:
      return event satisfies never;
  }
}

/** Full jitter: anywhere between a tenth of the step and the step, which doubles with each failure up to a cap. */
export function delayMs(kind: FaultKind, failures: number, random: number): number {
  const step = Math.min(capMs[kind], baseMs[kind] * 2 ** Math.min(failures - 1, 20));
  return Math.round(step * (0.1 + 0.9 * random));
}

export function lastFailureOf(state: MirrorPhase): Failure | null {
  return state.phase === 'idle' ? null : state.lastFailure;
}

function failuresOf(state: MirrorPhase): number {
  return state.phase === 'idle' ? 0 : state.failures;
}

/** What a push failed of, whatever was thrown. */
export function failureOf(error: unknown): Failure {
  if (error instanceof TransportError) return { kind: error.kind, reason: error.reason, message: error.message };
  return { kind: 'retryable', reason: 'local', message: messageOf(error) };
}
