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

export function bytesOf(waves: readonly Wave[]): number {
  return waves.flat().reduce((bytes, file) => bytes + file.size, 0);
}

export interface RemoteFile {
  readonly size: number;
  /** Null where no time of ours can be kept: two files of one size then count as equal. */
  readonly mtimeSeconds: number | null;
}

export interface TransportOptions {
  readonly signal: AbortSignal;
  /** Told of progress: payload bytes that have gone out since the last call. Also proof of life for the caller's stall watch. */
  readonly onBytes?: (bytes: number) => void;
  /** To be awaited before payload bytes of a put go out: resolves when the limits of bandwidth allow them. */
  readonly pace?: Pace;
  /** For how many milliseconds the payload of a put has waited for that so far: no part of the time that it may take. */
  readonly waitedMs?: () => number;
  /** Of a put: no file of the last wave appears before this resolves; when it rejects, the put does, with its reason. */
  readonly gate?: Promise<void>;
}

/** `onWait` is called now and then while the bytes wait: a call that waits for its share is not hung. */
export type Pace = (
  bytes: number,
  options: { readonly signal: AbortSignal; readonly onWait: () => void },
) => Promise<void>;

export interface PutOptions extends TransportOptions {
  /** Size and time at the mirror prove nothing: the bytes are compared or sent. */
  readonly anew?: boolean;
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
   * Each file's bytes are sent, unless it is known to be there already with this size and mtime (and that is proof).
   */
  put(sourceRoot: string, waves: readonly Wave[], options: PutOptions): Promise<void>;
  /** Removes the named files; one that is not there is no error. Directories stay. */
  remove(paths: readonly string[], options: TransportOptions): Promise<void>;
  /**
   * The cheapest thing that tells whether the mirror can be reached and lets us in; changes nothing. Absent: there is none
   * cheaper than a listing of the root.
   */
  check?(options: TransportOptions): Promise<void>;
  /**
   * The content of one regular file; null when there is none, or one longer than `maxBytes`. Absent where nothing can be read.
   * A transport that has it heeds `gate`.
   */
  readonly read?: (path: string, maxBytes: number, options: TransportOptions) => Promise<Buffer | null>;
  /** True: a read may run beside a put. */
  readonly readsBeside?: true;
  /** True: a read costs about as much as a put. */
  readonly readIsDear?: true;
  /** Ends connections; the transport may be used again afterwards and then connects anew. */
  close(): Promise<void>;
}
