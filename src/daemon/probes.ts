/** Probes one mirror now and then and records which generation its users get. */
import { createHash } from 'node:crypto';
import { messageOf } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import { observedGeneration, type RepositoryObservation, type ServedIndex } from '../observe/observation.ts';
import type { IndexProbe, Prober } from '../observe/probe.ts';
import type { Unanswered } from '../observe/unanswered.ts';
import type { Standing, Vouch } from '../replicate/fellow.ts';
import type { IndexRow } from '../store/generations.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import { Wake } from '../system/limit.ts';
import type { Log } from '../system/log.ts';
import { DriftWatch } from './drift.ts';
import type { Seen } from './follow.ts';

export interface ProbeDeps {
  readonly store: Store;
  readonly prober: Prober;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Asked for before each rest. */
  readonly everyMs: () => number;
  /** True for a repository that the mirror takes. */
  readonly takes: (repository: string) => boolean;
  /** What the mirror holds is to be looked at again; absent for one that we put nothing to. */
  readonly onDrift?: () => void;
  /** Told of each answered probe before it is written down. */
  readonly onSeen?: (seen: Seen) => void;
  /** Told of each probe that was answered once it is written down. */
  readonly onAnswer?: (signal: AbortSignal) => Promise<void>;
  /** Says whose an index is that was never published here; absent: nobody's whom we know. */
  readonly vouch?: Vouch;
}

/** What a probe sees again and again is looked into more and more rarely: a cache before the mirror may show old indexes for hours. */
const [firstDriftMs, longestDriftMs] = [10 * 60_000, 3_600_000];

/** What signatures said of an index is asked again after this long: a key may have come or gone. */
const standingMs = 10 * 60_000;

/** A confirmed push is looked at after this long: web servers cache file attributes for a moment. */
const afterPushMs = 200;

const maxIndexBytes = 64 * 1024 * 1024;

export class ProbeService {
  readonly #mirror: string;
  readonly #url: string;
  readonly #deps: ProbeDeps;
  readonly #wake = new Wake();
  #unknownLogged = false;
  #clockSkewSeconds: number | null = null;
  /** Since the first probe that was not answered; `since` is monotonic. */
  #unanswered: { readonly since: number; readonly detail: string } | null = null;
  readonly #drift = new DriftWatch(firstDriftMs, longestDriftMs);
  /** By path of the index: one entry each. */
  readonly #standings = new Map<
    string,
    { readonly asked: string; readonly untilMs: number; readonly standing: Standing }
  >();

  constructor(mirror: string, url: string, deps: ProbeDeps) {
    this.#mirror = mirror;
    this.#url = url;
    this.#deps = deps;
  }

  /** The mirror's clock minus ours as last seen; null: it never told. */
  get clockSkewSeconds(): number | null {
    return this.#clockSkewSeconds;
  }

  /** For how long no probe was answered, and why the last one was not; null: the last one was, or there was none. */
  get unanswered(): Unanswered | null {
    if (this.#unanswered === null) return null;
    const { since, detail } = this.#unanswered;
    return { seconds: Math.floor((this.#deps.clock.monotonic() - since) / 1000), detail };
  }

  /** The mirror has just been pushed to. */
  wake(): void {
    this.#wake.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const { clock, everyMs, random, log } = this.#deps;
      try {
        await this.#probe(signal);
      } catch (error) {
        // What was seen could not be written down: on a full disk, for instance. The next probe sees it again.
        signal.throwIfAborted();
        log.error('probe_not_recorded', { mirror: this.#mirror, detail: messageOf(error) });
      }
      // Jitter keeps many mirrors from being asked in the same second.
      const restMs = everyMs() * (0.95 + 0.1 * random());
      const woken = await this.#wake.wait((stop) => clock.sleep(restMs, { signal: AbortSignal.any([signal, stop]) }));
      if (woken) await clock.sleep(Math.min(afterPushMs, everyMs()), { signal });
    }
  }

  async #probe(signal: AbortSignal): Promise<void> {
    const { store, prober, metrics, clock, log } = this.#deps;
    const current = store.generations.current();
    if (!current) return;
    const rows = store.generations.indexesAt(current.number).filter(({ repository }) => this.#deps.takes(repository));
    const indexes = rows.map((row) => `${row.repository}/${row.file}`);
    const confirmed = store.mirrors.get(this.#mirror).confirmed;
    const result = await prober.probe({ mirror: this.#mirror, url: this.#url, indexes }, { signal });
    metrics.probed(this.#mirror, result);
    this.#clockSkewSeconds = result.clockSkewSeconds ?? this.#clockSkewSeconds;
    const failed = [...result.indexes].find(([, answer]) => 'failed' in answer);
    if (!result.success) {
      const index = failed?.[0];
      const detail = failed && 'failed' in failed[1] ? failed[1].failed : 'no answer';
      const since = this.#unanswered?.since ?? clock.monotonic();
      this.#unanswered = { since, detail: index === undefined ? detail : `${index}: ${detail}` };
      log.warn('probe_failed', { mirror: this.#mirror, index, detail });
      return;
    }
    this.#unanswered = null;
    const seen: RepositoryObservation[] = [];
    for (const [n, row] of rows.entries())
      seen.push(await this.#place(row, result.indexes.get(indexes[n] ?? '') ?? { absent: true }, signal));
    const observation = observedGeneration(seen, current.number);
    this.#deps.onSeen?.({ ...observation, indexes: result.indexes });
    store.mirrors.observe(this.#mirror, observation, clock.now());
    await this.#deps.onAnswer?.(signal);
    if (observation.unknownContent && !this.#unknownLogged) {
      log.error('mirror_content_unknown', {
        mirror: this.#mirror,
        indexes: seen.filter((s) => s.served === 'unknown').map((s) => s.path),
      });
    }
    this.#unknownLogged = observation.unknownContent;
    // A push that ended meanwhile has brought what the probe could not see yet.
    const still = confirmed !== null && store.mirrors.get(this.#mirror).confirmed === confirmed;
    const lacks = observation.unknownContent || (observation.generation ?? 0) < (confirmed ?? 0);
    const seenAs = lacks ? JSON.stringify([...result.indexes]) : null;
    if (!this.#drift.isNew(still ? seenAs : null, clock.monotonic())) return;
    store.mirrors.doubt(this.#mirror);
    log.warn('mirror_drifted', { mirror: this.#mirror, confirmed, observed: observation.generation });
    this.#deps.onDrift?.();
  }

  async #place(row: IndexRow, answer: IndexProbe, signal: AbortSignal): Promise<RepositoryObservation> {
    const { generations } = this.#deps.store;
    const { repository, file } = row;
    return {
      path: `${repository}/${file}`,
      served: await this.#served(row, answer, signal),
      firstGeneration: generations.firstGenerationOf(repository, file) ?? 1,
    };
  }

  async #served(row: IndexRow, answer: IndexProbe, signal: AbortSignal): Promise<ServedIndex> {
    if (!('sha256' in answer)) return 'absent';
    const range = this.#deps.store.generations.rangeOf(row.repository, answer.sha256);
    if (range) return { lastGeneration: range.last };
    const standing = await this.#standing(`${row.repository}/${row.file}`, row.sha256, answer.sha256, signal);
    if (standing === 'untrusted') return 'unknown';
    return standing === 'older' ? { lastGeneration: row.since - 1 } : 'newer';
  }

  /** What was answered of the same two indexes before holds for a while. */
  async #standing(path: string, ours: string, theirs: string, signal: AbortSignal): Promise<Standing> {
    const { clock, vouch, prober } = this.#deps;
    if (!vouch) return 'untrusted';
    const asked = `${ours} ${theirs}`;
    const known = this.#standings.get(path);
    if (known?.asked === asked && clock.monotonic() < known.untilMs) return known.standing;
    const bytes = await prober.read(this.#url, path, { maxBytes: maxIndexBytes, signal });
    // Another one by now: the next probe sees it.
    if (bytes === null || createHash('sha256').update(bytes).digest('hex') !== theirs) return 'untrusted';
    const standing = await vouch(path, bytes, signal);
    this.#standings.set(path, { asked, untilMs: clock.monotonic() + standingMs, standing });
    return standing;
  }
}
