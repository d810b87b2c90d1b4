/** Turns what strace has recorded into points at which a fault can strike. Pure. */

/** What changes a file system. */
export const changing: readonly string[] = (
  'link linkat rename renameat renameat2 unlink unlinkat mkdir mkdirat rmdir symlink symlinkat chmod fchmod fchmodat fsync ' +
  'fdatasync write pwrite64 writev pwritev ftruncate fallocate utimensat copy_file_range'
).split(' ');
/** What else can fail. */
export const looking: readonly string[] = (
  'openat open read pread64 readv preadv stat lstat statx newfstatat fstat fstatfs statfs getdents64 readlink readlinkat ' +
  'access faccessat faccessat2 flock close'
).split(' ');

export type Fault = 'KILL' | 'EIO' | 'ENOSPC' | 'EMFILE';
export const faults: readonly Fault[] = ['KILL', 'EIO', 'ENOSPC', 'EMFILE'];

export interface Point {
  /** Name of the thread. */
  readonly thread: string;
  readonly call: string;
  /** The how manieth of these calls in that thread, from 1. */
  readonly nth: number;
  /** The how manieth of those on files of ours: a thread that wakes another one writes too, and not always equally often. */
  readonly ofOurs: number;
  readonly path: string;
  readonly creates: boolean;
  /**
   * A sync that may fail without a word. Of a checkpoint of SQLite's on the state: everything in its log was synced before,
   * and the log is kept. Of the state's directory by SQLite, which does not look at the outcome: the store syncs it when
   * it is opened, once the log is there.
   */
  readonly redundant: boolean;
}

const growing = /^(?:link|rename|symlink|mkdir|p?writev?|pwrite64|fsync|fdatasync|ftruncate|fallocate|copy_file_range)/;

/** What a call can answer, as the manual has it; a kill makes a difference only before something changes. */
export function canStrike(fault: Fault, { call, creates }: Point): boolean {
  if (fault === 'KILL') return changing.includes(call) || creates;
  if (fault === 'ENOSPC') return growing.test(call) || creates;
  return fault === 'EIO' || call.startsWith('open');
}

/** The calls on files below `base`, in their order. `threads`: name by number. */
export function parsePoints(text: string, threads: ReadonlyMap<string, string>, base: string): Point[] {
  const counts = new Map<string, number>();
  const ours = new Map<string, number>();
  const points: Point[] = [];
  let unsynced = false;
  for (const line of text.split('\n')) {
    const [, tid = '', call = '', rest = ''] = /^(\d+) +(\w+)\((.*)/.exec(line) ?? [];
    const thread = threads.get(tid);
    if (thread === undefined) continue;
    const key = `${thread} ${call}`;
    const nth = (counts.get(key) ?? 0) + 1;
    counts.set(key, nth);
    // Pipes, sockets and event descriptors are no files.
    const path = pathOf(rest);
    if (!isOurs(path, base)) continue;
    const ofOurs = (ours.get(key) ?? 0) + 1;
    ours.set(key, ofOurs);
    const state = /\/state\.db/.test(path);
    const log = /\/state\.db-wal/.test(path);
    if (state && log && /^p?write/.test(call)) unsynced = true;
    const checkpoint = state && thread === 'MainThread' && !(log && unsynced);
    const ofDirectory = path.endsWith('/state') && call === 'fsync' && thread === 'MainThread';
    if (log && call.endsWith('sync')) unsynced = false;
    points.push({
      thread,
      call,
      nth,
      ofOurs,
      path: shorten(path, base),
      creates: /O_CREAT/.test(rest),
      redundant: checkpoint || ofDirectory,
    });
  }
  return points;
}

/** What the first descriptor stands for, else all arguments. */
function pathOf(rest: string): string {
  return /^\d+<(?<fd>[^>]*)>/.exec(rest)?.groups?.fd ?? rest;
}

function isOurs(path: string, base: string): boolean {
  return path.includes(base) || /"\/proc\/(?:self\/fd\/\d|locks)/.test(path);
}

/** What the log of one call in one thread tells: which of them was hit, which one should have been. Both from 1, null for none. */
export function findHit(
  text: string,
  { call, ofOurs }: Point,
  base: string,
): { readonly hit: number | null; readonly hitOurs: boolean; readonly wanted: number | null } {
  let nth = 0;
  let ours = 0;
  let wanted: number | null = null;
  let hit: { readonly nth: number; readonly ours: boolean } | null = null;
  for (const line of text.split('\n')) {
    const [, rest] = new RegExp(`^${call}\\((.*)`).exec(line) ?? [];
    if (rest === undefined) continue;
    nth++;
    const isOne = isOurs(pathOf(rest), base);
    if (isOne && ++ours === ofOurs) wanted = nth;
    if (line.includes('(INJECTED)')) hit = { nth, ours: isOne };
  }
  return { hit: hit?.nth ?? null, hitOurs: hit?.ours === true, wanted };
}

function shorten(path: string, base: string): string {
  return path
    .replaceAll(base, '')
    .replaceAll(/\/run-\d+/g, '')
    .slice(0, 160);
}

/** `count` of the points, picked by chance, in their order. */
export function choose(points: readonly Point[], count: number, random: () => number): Point[] {
  return points
    .map((point, index) => ({ point, index, at: random() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, count)
    .sort((a, b) => a.index - b.index)
    .map(({ point }) => point);
}
