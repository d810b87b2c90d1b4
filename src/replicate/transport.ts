/** The port through which a mirror is read and written. Implementations: sftp, rsync, directory, rclone. They decide nothing about what to send. */

/** One file to bring to a mirror; its bytes lie at `<sourceRoot>/<path>` and do not change while the call runs. */
export interface PushFile {
  /** Relative to the mirror's root and to the source root, `/` between components, no leading `/`, no `.` or `..`. */
  readonly path: string;
  readonly size: number;
  readonly mtimeSeconds: number;
}

/** Files that may appear in any order. */
export type Wave = readonly PushFile[];

export interface RemoteFile {
  readonly size: number;
  /** Null where no time of ours can be kept: two files of one size then count as equal. */
  readonly mtimeSeconds: number | null;
}

export interface TransportOptions {
  readonly signal: AbortSignal;
  /** Told of progress: payload bytes that have gone out since the last call. Also proof of life for the caller's stall watch. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Every method is idempotent, throws a TransportError (or the signal's reason once aborted), may have had part of its
 * effect when it throws, and never retries by itself: the worker does.
 */
export interface Transport {
  /**
   * The regular files directly in `directory` by name (not recursive; names with a leading dot included, so that
   * left-over temporary files can be pruned). A directory that does not exist is an empty map.
   */
  list(directory: string, options: TransportOptions): Promise<ReadonlyMap<string, RemoteFile>>;
  /**
   * Makes each named file at the mirror equal to ours, size and (where it can be kept) mtime included, creating directories (0755; files 0644).
   * A file appears under its name only when it is complete (temporary name, then rename over an old one). No file of a wave
   * appears before all files of the waves before it have; the order within a wave is not defined, and bytes may go ahead.
   * Each file's bytes are sent, unless it is known to be there already with this size and mtime.
   */
  put(sourceRoot: string, waves: readonly Wave[], options: TransportOptions): Promise<void>;
  /** Removes the named files; one that is not there is no error. Directories stay. */
  remove(paths: readonly string[], options: TransportOptions): Promise<void>;
  /** Ends connections; the transport may be used again afterwards and then connects anew. */
  close(): Promise<void>;
}
