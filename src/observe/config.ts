/** Decides what is told about the configuration in use, in `/status.json` and in words. Pure. */

export interface ConfigFacts {
  readonly file: string;
  /** When the configuration in use was read, milliseconds since the epoch. */
  readonly loadedAtMs: number;
  /** The last reload was refused then, and the old configuration stays in use; null: it is the file's. */
  readonly failedAtMs: number | null;
  /** What is wrong with the file, and what of it could not be done yet. */
  readonly problems: readonly string[];
  /** Keys whose new values wait for a restart. */
  readonly needsRestart: readonly string[];
}

/** As `/status.json` tells it. */
export interface ConfigStatus {
  readonly file: string;
  readonly loaded_at: string;
  readonly reload_failed_at: string | null;
  readonly problems: readonly string[];
  readonly needs_restart: readonly string[];
}

export function configView(facts: ConfigFacts, instant: (ms: number) => string): ConfigStatus {
  const { file, loadedAtMs, failedAtMs, problems, needsRestart } = facts;
  return {
    file,
    loaded_at: instant(loadedAtMs),
    reload_failed_at: failedAtMs === null ? null : instant(failedAtMs),
    problems,
    needs_restart: needsRestart,
  };
}
