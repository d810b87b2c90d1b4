/** The port through which the bytes that a mirror holds are compared with those that were published. Nothing is written there. */
import type { ReadPace } from '../system/read-paced.ts';
import type { PushFile, TransportOptions } from './transport.ts';

export interface KnownFile extends PushFile {
  /** Hex, of the bytes that were published. */
  readonly sha256: string;
}

export interface CheckOptions extends TransportOptions {
  /** Told of what is read at the mirror. */
  readonly pace: ReadPace;
}

/** Every method is idempotent and throws a TransportError, or the signal's reason once aborted. */
export interface ContentCheck {
  /** Paths of those of `files` whose bytes at the mirror are others, or that are not there. Ours lie at `<sourceRoot>/<path>`. */
  differing(sourceRoot: string, files: readonly KnownFile[], options: CheckOptions): Promise<ReadonlySet<string>>;
  /** Where an account may compare though it may not list: what has another size or time there, or lacks. */
  readonly unlike?: (
    sourceRoot: string,
    files: readonly PushFile[],
    options: TransportOptions,
  ) => Promise<ReadonlyMap<string, 'missing' | 'different'>>;
  close(): Promise<void>;
}
