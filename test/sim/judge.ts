/** The invariants of a fleet, looked at from outside at each event: what a violation is, and of which promise. It changes nothing. */
import { quietMsAt } from '../../src/config/quiet.ts';
import { recheckCapMs, waitCapMs } from '../../src/replicate/backoff.ts';
import type { Clock } from '../../src/system/clock.ts';
import { type FarMirror, type FaultName, isIndex, isTrace, partsOf, type Watcher } from './far-mirror.ts';
import { indexFile, type Stored, type View } from './primary.ts';

export type Invariant =
  | 'converges'
  | 'index after packages'
  | 'never older'
  | 'one try a second'
  | 'memory'
  | 'connections'
  | 'bandwidth'
  | 'no starvation'
  | 'no spinning'
  | 'exact at the end';

export interface Violation {
  readonly invariant: Invariant;
  readonly detail: string;
}

export interface JudgeOptions {
  readonly clock: Clock;
  readonly connections: number;
  readonly bytesPerSecond: number;
  readonly mirrors: number;
  /** What our side knows of a mirror, for the report. */
  readonly describe: (mirror: FarMirror) => string;
}

interface Record {
  lastTryMs: number;
  /** The try in hand has had its sign of life: the push that follows is the same try. */
  checked: boolean;
  /** When it asked for a slot that it has not got. */
  askedAtMs: number | null;
  /** The newest generation seen of each index and of the trace. */
  readonly newest: Map<string, number>;
  /** What it has to reach, how long it could have, and how much time it has. */
  target: View | null;
  /** How often its files had changed when it was last seen to serve its target. */
  servedAt: number;
  lateMs: number;
  capMs: number;
}

interface Call {
  readonly sinceMs: number;
  aliveMs: number;
  passed: boolean;
}

const secondMs = 1000;
/** What Slots promises, see there: who is silent or long at it makes room. */
const silentMs = 2000;
const sliceMs = 30_000;
const caps: Partial<globalThis.Record<FaultName, number>> = {
  'read-only': 3_600_000,
  auth: recheckCapMs,
  'host key': recheckCapMs,
};
/** A bucket that was full, and the piece that may go into debt. */
const burstSeconds = 0.25;
const pieceBytes = 64 * 1024;

export class Judge implements Watcher {
  readonly violations: Violation[] = [];
  tries = 0;
  longestWaitMs = 0;
  longestLateMs = 0;
  mostCalls = 0;
  readonly #options: JudgeOptions;
  readonly #records = new Map<FarMirror, Record>();
  #calls = new Set<Call>();
  #sent = { level: 0, atMs: 0 };

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  violate(invariant: Invariant, detail: string): void {
    if (this.violations.length >= 10) return;
    const at = new Date(this.#options.clock.now()).toISOString();
    this.violations.push({ invariant, detail: `${at} ${detail}` });
  }

  renamed(mirror: FarMirror, path: string, file: Stored): void {
    if (isIndex(path) && !this.isExcused(mirror)) this.#requirePackages(mirror, path, file);
    if (!isIndex(path) && !isTrace(path)) return;
    const { newest } = this.#recordOf(mirror);
    const [before, since] = [newest.get(path) ?? 0, file.since ?? 0];
    if (since < before) this.violate('never older', `${mirror.name}: ${path} of generation ${since} after ${before}`);
    newest.set(path, since);
  }

  removed(mirror: FarMirror, path: string): void {
    const [repository, name] = partsOf(path);
    if (this.isExcused(mirror) || !mirror.indexOf(repository)?.index?.packages.has(name)) return;
    this.violate('index after packages', `${mirror.name}: ${path} was removed, the index there names it`);
  }

  /** Somebody else has changed the files: what was there before says nothing any more. */
  tampered(mirror: FarMirror): void {
    const { newest } = this.#recordOf(mirror);
    newest.clear();
    for (const path of mirror.paths())
      if (isIndex(path) || isTrace(path)) newest.set(path, mirror.get(path)?.since ?? 0);
  }

  tryBegan(mirror: FarMirror, what: 'check' | 'push'): void {
    const record = this.#recordOf(mirror);
    const nowMs = this.#options.clock.monotonic();
    const same = what === 'push' && record.checked;
    record.checked = false;
    if (same) return;
    this.tries++;
    const agoMs = nowMs - record.lastTryMs;
    if (agoMs < secondMs)
      this.violate('one try a second', `${mirror.name}: a ${what} ${agoMs} ms after the try before`);
    record.lastTryMs = nowMs;
  }

  checkWentWell(mirror: FarMirror): void {
    this.#recordOf(mirror).checked = true;
  }

  /** It is known again that nothing is wrong: until then it may be left alone for as long as its last fault allows. */
  pushWentWell(mirror: FarMirror): void {
    if (mirror.fault === null) this.#recordOf(mirror).capMs = waitCapMs;
  }

  askedForSlot(mirror: FarMirror): void {
    this.#recordOf(mirror).askedAtMs ??= this.#options.clock.monotonic();
  }

  /** It got one, or asks no more. */
  asksNoMore(mirror: FarMirror): void {
    const record = this.#recordOf(mirror);
    if (record.askedAtMs !== null) this.#requireSoon(mirror, record.askedAtMs);
    record.askedAtMs = null;
  }

  readonly callBegan = (): { readonly alive: () => void; readonly end: () => void } => {
    const nowMs = this.#options.clock.monotonic();
    const call: Call = { sinceMs: nowMs, aliveMs: nowMs, passed: false };
    this.#calls.add(call);
    const isCounted = (one: Call): boolean => {
      one.passed ||= nowMs - one.aliveMs >= silentMs || nowMs - one.sinceMs >= sliceMs;
      return !one.passed;
    };
    const count = [...this.#calls].filter(isCounted).length;
    this.mostCalls = Math.max(this.mostCalls, count);
    const { connections, clock } = this.#options;
    if (count > connections)
      this.violate('connections', `${count} calls side by side, expected at most ${connections}`);
    const alive = (): void => {
      const ms = clock.monotonic();
      call.passed ||= ms - call.aliveMs >= silentMs;
      call.aliveMs = ms;
    };
    return { alive, end: () => void this.#calls.delete(call) };
  };

  readonly sent = (bytes: number): void => {
    const { bytesPerSecond, clock } = this.#options;
    const nowMs = clock.monotonic();
    const drained = ((nowMs - this.#sent.atMs) / 1000) * bytesPerSecond;
    this.#sent = { level: Math.max(0, this.#sent.level - drained) + bytes, atMs: nowMs };
    const most = Math.max(pieceBytes, bytesPerSecond * burstSeconds) + pieceBytes;
    if (this.#sent.level > most)
      this.violate('bandwidth', `${Math.round(this.#sent.level)} bytes at once, expected at most ${most}`);
  };

  /** The process is gone, and with it whatever it was doing. */
  processEnded(): void {
    this.#calls = new Set();
    for (const record of this.#records.values()) Object.assign(record, { askedAtMs: null, checked: false });
  }

  /** `ms` have passed: who is late? */
  tick(mirrors: Iterable<FarMirror>, newest: View | null, isUp: boolean, ms: number): void {
    if (newest === null) return;
    const { clock } = this.#options;
    for (const mirror of mirrors) {
      const record = this.#recordOf(mirror);
      if (record.askedAtMs !== null) this.#requireSoon(mirror, record.askedAtMs);
      record.target ??= newest;
      if (mirror.fault !== null) {
        record.lateMs = 0;
        record.capMs = Math.max(record.capMs, caps[mirror.fault] ?? waitCapMs);
        continue;
      }
      if (record.target === newest && record.servedAt === mirror.changes) continue;
      if (serves(mirror, record.target)) {
        const servedAt = record.target === newest ? mirror.changes : -1;
        Object.assign(record, { target: newest, servedAt, lateMs: 0 });
        continue;
      }
      if (!isUp || quietMsAt(mirror.traits.quiet, clock.now()) > 0) continue;
      record.lateMs += ms;
      if (record.capMs === waitCapMs) this.longestLateMs = Math.max(this.longestLateMs, record.lateMs);
      if (record.lateMs <= 2 * record.capMs) continue;
      const late = `${mirror.name}: not at generation ${record.target.generation} after ${record.lateMs / 60_000} min without a fault (${this.#options.describe(mirror)})`;
      this.violate('converges', late);
      Object.assign(record, { target: newest, lateMs: 0 });
    }
  }

  #requireSoon(mirror: FarMirror, askedAtMs: number): void {
    const { clock, connections, mirrors } = this.#options;
    const waitedMs = clock.monotonic() - askedAtMs;
    this.longestWaitMs = Math.max(this.longestWaitMs, waitedMs);
    const boundMs = Math.ceil(mirrors / connections) * sliceMs;
    if (waitedMs > boundMs) this.violate('no starvation', `${mirror.name}: has waited ${waitedMs / 1000} s for a slot`);
  }

  #requirePackages(mirror: FarMirror, path: string, file: Stored): void {
    const [repository] = partsOf(path);
    const there = mirror.directories.get(repository);
    for (const [name, wanted] of file.index?.packages ?? []) {
      const found = there?.get(name);
      if (found?.id === wanted.id) continue;
      const what = found ? 'other bytes' : 'nothing';
      this.violate('index after packages', `${mirror.name}: ${path} names ${name}, there is ${what}`);
      return;
    }
  }

  /** Where a look costs as much as a push, or none is possible, what others do there is known when a probe has seen it. */
  isExcused({ isTampered, traits }: FarMirror): boolean {
    return isTampered && (traits.kind === 'rsync' || traits.kind === 'blind');
  }

  #recordOf(mirror: FarMirror): Record {
    const known = this.#records.get(mirror);
    if (known) return known;
    const lastTryMs = Number.NEGATIVE_INFINITY;
    const newest = new Map<string, number>();
    const late = { target: null, servedAt: -1, lateMs: 0, capMs: waitCapMs };
    const record = { lastTryMs, checked: false, askedAtMs: null, newest, ...late };
    this.#records.set(mirror, record);
    return record;
  }
}

/** True when the mirror's indexes are those of `view` or newer ones. */
export function serves(mirror: FarMirror, view: View): boolean {
  for (const [repository, index] of view.indexes) {
    if (!mirror.traits.takes(repository)) continue;
    const there = mirror.indexOf(repository);
    // An index that has left by now is newer than the one that was there.
    if ((there?.since ?? (served(mirror) > view.generation ? index.since : 0) ?? 0) < (index.since ?? 0)) return false;
  }
  return true;
}

/** The generation that the trace there tells. */
function served(mirror: FarMirror): number {
  return mirror.get('lockstep.json')?.since ?? 0;
}

/** What the mirror lacks of `view` or has beside it, without what is `kept` for its grace; an empty list when it is exact. */
export function differences(
  mirror: FarMirror,
  view: View,
  kept: (repository: string, file: string) => boolean,
): string[] {
  const found: string[] = [];
  for (const [repository, index] of view.indexes) {
    if (!mirror.traits.takes(repository)) continue;
    if (mirror.indexOf(repository)?.id !== index.id) found.push(`${repository}: another index`);
    for (const [name, wanted] of index.index?.packages ?? [])
      if (mirror.directories.get(repository)?.get(name)?.id !== wanted.id) found.push(`lacks ${repository}/${name}`);
  }
  for (const path of mirror.paths()) {
    const [repository, name] = partsOf(path);
    const index = view.indexes.get(repository);
    const isOurs = isTrace(path) || (name === indexFile ? index !== undefined : index?.index?.packages.has(name));
    if (!isOurs && !kept(repository, name)) found.push(`has ${path}`);
  }
  return found;
}
