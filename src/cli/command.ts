/** What every command looks like to the dispatcher in main: what it takes and tells, and a run that returns the exit code. */
import type { CommandSpec } from './spec.ts';

/** Exit codes of the contract. */
export const exitCode = { ok: 0, failure: 1, usage: 2, behind: 3, refused: 4, tryAgain: 75, config: 78 } as const;

export interface Io {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** True when stdout is a terminal. */
  readonly terminal: boolean;
  /** Its width now; absent where it is none or has none. */
  readonly columns?: number | undefined;
  /** Its height now, likewise. */
  readonly rows?: number | undefined;
  /** The width of the terminal that stderr is; absent where it is none. */
  readonly errColumns?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by SIGINT or SIGTERM for commands that run long. */
  readonly signal: AbortSignal;
  /** Aborted by a second one; absent where nobody sends signals. */
  readonly stopNow?: AbortSignal;
  /** Calls the listener at each SIGHUP, and for one that came before, until disposed; absent where nobody sends signals. */
  readonly onHangUp?: (listener: () => void) => Disposable;
}

export interface Command {
  readonly spec: CommandSpec;
  /** `args` are the arguments after the command's name. Throws UsageError for wrong ones. */
  run(args: readonly string[], io: Io): Promise<number>;
}
