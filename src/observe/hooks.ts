/** Decides what is told about hooks in `/status.json` and in a line for people. Pure. */
import type { HookEvent } from '../config/hooks-schema.ts';

/** How one run of a hook ended: `again` asks for another try (exit code 75), `aborted` was ended because the daemon stops. */
export const hookOutcomes = ['ok', 'failed', 'timeout', 'again', 'aborted'] as const;
export type HookOutcome = (typeof hookOutcomes)[number];

export interface HookFacts {
  readonly name: string;
  readonly on: readonly HookEvent[];
  readonly running: boolean;
  /** Events that it is still to be told of, the one in hand included. */
  readonly pending: number;
  /** Events that it has missed because too many waited. */
  readonly dropped: number;
  /** How its last run ended; null: none has since the daemon started. */
  readonly last: { readonly outcome: HookOutcome; readonly endedAtMs: number; readonly detail: string | null } | null;
}

/** As `/status.json` tells it. */
export interface HookStatus {
  readonly name: string;
  readonly on: readonly HookEvent[];
  readonly running: boolean;
  readonly pending: number;
  readonly dropped: number;
  readonly last_outcome: HookOutcome | null;
  readonly last_run_at: string | null;
  /** Null when the last run went well. */
  readonly last_error: string | null;
}

export function hookView(facts: HookFacts, instant: (ms: number | null) => string | null): HookStatus {
  const { name, on, running, pending, dropped, last } = facts;
  return {
    name,
    on,
    running,
    pending,
    dropped,
    last_outcome: last?.outcome ?? null,
    last_run_at: instant(last?.endedAtMs ?? null),
    last_error: last === null || last.outcome === 'ok' ? null : (last.detail ?? last.outcome),
  };
}
