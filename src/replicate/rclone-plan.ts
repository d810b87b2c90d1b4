/** Decides how files get to a remote of rclone without ever being half there, and reads what rclone prints. Pure. */
import { dirname } from 'node:path/posix';
import type { PushFile, RemoteFile, Wave } from './transport.ts';

/** What rclone says of a remote. */
export interface RemoteFeatures {
  /** False where times of files cannot be set. */
  readonly keepsTimes: boolean;
  /** How a file takes the place of another in one step: it is put whole, or put elsewhere and renamed. Null: not known. */
  readonly replaces: 'put' | 'rename' | null;
  /** Arguments without which a rename there would not replace a file. */
  readonly renameArgs: readonly string[];
}

/**
 * Reads `rclone backend features`; null when it is none. Object stores show a file only when it is whole. A local rename
 * replaces. WebDAV's MOVE replaces when it is asked to (RFC 4918, section 9.9.3), which rclone does not do by itself. Of others
 * nothing is known: rclone's rename over SFTP, for one, does not replace.
 */
export function parseFeatures(output: string): RemoteFeatures | null {
  const value = parseJson(output);
  if (!isRecord(value) || !isRecord(value.Features) || typeof value.Precision !== 'number') return null;
  const webdav = typeof value.String === 'string' && value.String.startsWith('webdav root ');
  const renames = value.Features.IsLocal === true || webdav;
  return {
    // Nanoseconds; a hundred years stand for "not at all".
    keepsTimes: value.Precision <= 1e9,
    replaces: value.Features.BucketBased === true ? 'put' : renames ? 'rename' : null,
    renameArgs: webdav ? ['--header', 'Overwrite: T'] : [],
  };
}

/** Reads what `rclone lsjson` printed of one directory; null when it is no listing. */
export function parseList(output: string, keepsTimes: boolean): Map<string, RemoteFile> | null {
  const value = parseJson(output);
  if (!Array.isArray(value)) return null;
  const found = new Map<string, RemoteFile>();
  for (const entry of value as unknown[]) {
    if (!isRecord(entry) || typeof entry.Name !== 'string' || typeof entry.Size !== 'number') return null;
    const seconds = typeof entry.ModTime === 'string' ? Math.floor(Date.parse(entry.ModTime) / 1000) : Number.NaN;
    found.set(entry.Name, { size: entry.Size, mtimeSeconds: keepsTimes && !Number.isNaN(seconds) ? seconds : null });
  }
  return found;
}

/** What moved since the last report of a run. */
export interface RunStats {
  readonly bytes: number;
  readonly transfers: number;
  readonly renames: number;
  readonly deletes: number;
  readonly checks: number;
}

/** One line of `--use-json-log`: a report, a message, or plain text where rclone ends before its log is set up. */
export function parseLogLine(line: string): { readonly stats: RunStats } | { readonly message: string } {
  const value = parseJson(line);
  if (!isRecord(value)) return { message: line };
  if (isRecord(value.stats)) {
    const { stats } = value;
    const count = (key: string): number => (typeof stats[key] === 'number' ? stats[key] : 0);
    return {
      stats: {
        bytes: count('bytes'),
        transfers: count('transfers'),
        renames: count('renames'),
        deletes: count('deletes'),
        checks: count('checks'),
      },
    };
  }
  const object = typeof value.object === 'string' ? `${value.object}: ` : '';
  return { message: `${object}${typeof value.msg === 'string' ? value.msg : ''}` };
}

/** `NAME:PATH` with `rest` below it. */
export function below(remote: string, rest: string): string {
  if (rest === '' || rest === '.') return remote;
  return remote.endsWith(':') || remote.endsWith('/') ? `${remote}${rest}` : `${remote}/${rest}`;
}

/** Files of a wave by directory: rclone moves from one directory into another that does not contain it. */
export function byDirectory(wave: Wave): Map<string, PushFile[]> {
  const groups = new Map<string, PushFile[]>();
  for (const file of wave) {
    const directory = dirname(file.path);
    const group = groups.get(directory);
    if (group) group.push(file);
    else groups.set(directory, [file]);
  }
  return groups;
}

/** Each path once, in the last wave that names it. */
export function withoutRepeats(waves: readonly Wave[]): Wave[] {
  const last = new Map<string, number>();
  for (const [index, wave] of waves.entries()) for (const { path } of wave) last.set(path, index);
  return waves
    .map((wave, index) =>
      [...new Map(wave.map((file) => [file.path, file])).values()].filter((f) => last.get(f.path) === index),
    )
    .filter((wave) => wave.length > 0);
}

/** A list of names has one on each line. */
export function isListable(path: string): boolean {
  return !/[\r\n]/.test(path);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
