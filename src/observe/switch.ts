/** Decides what is told about mirrors that switch together. Pure. */

/** How the newest generation goes out. */
export interface SwitchStatus {
  readonly generation: number;
  /** True while its indexes wait for more mirrors to have its packages. */
  readonly waits: boolean;
  /** Mirrors that have its packages, of all. */
  readonly has: number;
  readonly of: number;
  /** Those that do not, with the reason where nobody waits for them; at the time of the last decision. */
  readonly stragglers: readonly string[];
  /** When it goes whoever has it, milliseconds since the epoch; null: it has gone. */
  readonly untilMs: number | null;
}

/** As `/status.json` tells it. */
export interface SwitchView {
  readonly generation: number;
  readonly waiting: boolean;
  readonly has: number;
  readonly of: number;
  readonly stragglers: readonly string[];
  readonly deadline_at: string | null;
}

export function switchView(
  status: SwitchStatus | null,
  instant: (ms: number | null) => string | null,
): SwitchView | null {
  if (status === null) return null;
  const { generation, waits: waiting, has, of, stragglers, untilMs } = status;
  return { generation, waiting, has, of, stragglers, deadline_at: instant(untilMs) };
}
