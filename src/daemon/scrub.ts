/** Runs scrubs: on schedule, when asked, and again when one was cut off. First the primary, then all mirrors side by side; sweeps left-over files at start. */
import type { Config } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import { type MirrorScrub, neverScrubbed, type ScrubReport, type ScrubStatus } from '../observe/scrub.ts';
import type { Clock } from '../system/clock.ts';
import { toInstant } from '../system/instant.ts';
import { eachLimited, Wake } from '../system/limit.ts';
import type { ReadPace } from '../system/read-paced.ts';
import { runOnSchedule } from '../system/schedule.ts';
import { nothingFound, type ScrubbedMirror, scrubMirror } from './scrub-mirror.ts';
import { atMirror } from './scrub-turns.ts';
import { mendDamaged, type PrimaryDeps, scrubPrimary } from './scrub-primary.ts';

export interface ScrubDeps extends Omit<PrimaryDeps, 'root' | 'inboxes' | 'mirrors' | 'atMirror'> {
  readonly clock: Clock;
  readonly random: () => number;
  /** As it is now. */
  readonly config: () => Config;
  readonly targets: () => readonly ScrubbedMirror[];
}

/** What is damaged is tried to be mended again this often: somebody may have uploaded it. */
const mendAgainMs = 10 * 60_000;
/** While something is published or pushed, a scrub goes at an eighth of its pace. */
const slowdown = 8;
/** Shorter pauses cost more than they give. */
const shortestPauseMs = 20;
const foreignShown = 20;
const saveEveryMs = 60_000;

type Report = { -readonly [K in keyof ScrubReport]: ScrubReport[K] };

export class ScrubService {
  readonly #deps: PrimaryDeps & ScrubDeps & { readonly graceMs: number; readonly primary: string | null };
  readonly #wake = new Wake();
  #asked = false;
  #report: Report;
  #publishing = 0;

  constructor(deps: ScrubDeps) {
    const { root, publish } = deps.config();
    this.#deps = {
      ...deps,
      root,
      graceMs: publish.graceMs,
      primary: publish.primary,
      inboxes: () => deps.config().inboxes,
      mirrors: () => deps.config().mirrors,
      atMirror: (mirror, work, signal) => atMirror(mirror, deps, work, signal),
    };
    const last = deps.store.damage.lastRun();
    this.#report = { ...neverScrubbed, ...(last?.report as Partial<ScrubReport> | undefined), running: false };
    // A scrub that was cut off is done anew.
    this.#asked = last?.finished === false;
  }

  get status(): ScrubStatus {
    const damaged = this.#deps.store.damage.all();
    return {
      ...this.#report,
      damaged: damaged.map((d) => ({
        path: `${d.repository}/${d.file}`,
        found_at: toInstant(d.foundAtMs),
        detail: d.detail,
      })),
    };
  }

  /** Asks for a scrub; false when one runs or is asked for. */
  ask(): boolean {
    if (this.#asked || this.#report.running) return false;
    // What was promised outlives a crash.
    this.#deps.store.damage.saveRun(false, this.#report);
    this.#asked = true;
    this.#wake.wake();
    return true;
  }

  /** Until disposed the scrub leaves the disk to somebody else, as far as it can. */
  giveWay(): Disposable {
    this.#publishing++;
    return { [Symbol.dispose]: () => void this.#publishing-- };
  }

  /** Asks for a scrub at each time of the configured schedule, if there is one. */
  async schedule(signal: AbortSignal): Promise<void> {
    const { scrub: expression } = this.#deps.config().schedule;
    if (expression === null) return;
    await runOnSchedule(
      expression,
      async () => {
        if (!this.ask()) this.#deps.log.warn('scrub_overdue', { hint: 'the last one still runs' });
      },
      signal,
    );
  }

  /** Runs until aborted; what goes wrong is in the report and the log. */
  async run(signal: AbortSignal): Promise<void> {
    const sweeping = this.#eachMirror((mirror) => this.#scrubMirror(mirror, true, signal));
    // Looked at below; when this is aborted first it has nothing more to say.
    sweeping.catch(() => {});
    for (;;) {
      signal.throwIfAborted();
      if (this.#asked) await this.#scrub(signal);
      else await this.#mendAgain(signal);
      await this.#wake.wait((stop) => this.#deps.clock.sleep(mendAgainMs, { signal: AbortSignal.any([signal, stop]) }));
    }
  }

  async #scrub(signal: AbortSignal): Promise<void> {
    const { clock, log, store } = this.#deps;
    this.#asked = false;
    const mirrors = this.#deps.targets().map(({ config }) => nothingFound(config.name));
    const number = this.#report.number + 1;
    this.#report = { ...neverScrubbed, number, running: true, started_at: toInstant(clock.now()), mirrors };
    store.damage.saveRun(false, this.#report);
    log.info('scrub_started');
    try {
      await this.#scrubPrimary(signal);
      await this.#eachMirror((mirror) => this.#scrubMirror(mirror, false, signal));
      this.#report.finished_at = toInstant(clock.now());
    } finally {
      this.#report.running = false;
      // Aborted: not finished, so the next process begins it anew.
      store.damage.saveRun(this.#report.finished_at !== null, this.#report);
    }
    const { files, bytes, corrupt, repaired } = this.#report;
    log.info('scrub_finished', { files, bytes, corrupt, repaired, damaged: store.damage.all().length });
  }

  async #scrubPrimary(signal: AbortSignal): Promise<void> {
    const report = this.#report;
    const { store, log, clock } = this.#deps;
    let savedAt = clock.monotonic();
    try {
      await mendDamaged(this.#deps, signal, () => report.repaired++);
      const events = {
        pace: this.#pace(signal),
        total: (files: number) => void (report.files_total = files),
        checked: (bytes: number) => {
          report.files++;
          report.bytes += bytes;
          if (clock.monotonic() - savedAt < saveEveryMs) return;
          savedAt = clock.monotonic();
          store.damage.saveRun(false, report);
        },
        corrupt: () => void report.corrupt++,
        repaired: () => void report.repaired++,
        stray: (path: string, kind: 'temporary' | 'foreign') => this.#stray(path, kind),
      };
      await scrubPrimary(this.#deps, events, signal);
    } catch (error) {
      signal.throwIfAborted();
      report.error = messageOf(error);
      log.error('scrub_failed', { detail: report.error });
    }
  }

  #stray(path: string, kind: 'temporary' | 'foreign'): void {
    if (kind === 'temporary') this.#report.temporary++;
    else if (this.#report.foreign++ < foreignShown) {
      this.#report.foreign_files = [...this.#report.foreign_files, path];
      this.#deps.log.warn('scrub_foreign_file', { path });
    }
  }

  /** Each at its own pace: none waits for another. */
  async #eachMirror(work: (mirror: ScrubbedMirror) => Promise<void>): Promise<void> {
    const mirrors = this.#deps.targets();
    await eachLimited(mirrors, mirrors.length, work);
  }

  async #scrubMirror(mirror: ScrubbedMirror, temporaryOnly: boolean, signal: AbortSignal): Promise<void> {
    const { log, config } = this.#deps;
    const onProgress = (result: MirrorScrub): void => {
      if (temporaryOnly) return;
      this.#report.mirrors = this.#report.mirrors.map((m) => (m.name === result.name ? result : m));
    };
    const { sample } = config().scrub;
    const options = { temporaryOnly, sample, pace: this.#pace(signal), onProgress };
    const result = await scrubMirror(mirror, this.#deps, options, signal);
    if (temporaryOnly) return;
    const { name, outcome, files, missing, different, corrupt, repaired, foreign, detail } = result;
    log[outcome === 'failed' ? 'warn' : 'info']('mirror_scrubbed', {
      mirror: name,
      outcome,
      files,
      missing,
      different,
      corrupt,
      repaired,
      foreign,
      detail: detail ?? undefined,
    });
  }

  async #mendAgain(signal: AbortSignal): Promise<void> {
    try {
      await mendDamaged(this.#deps, signal, () => {});
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.log.error('scrub_failed', { detail: messageOf(error) });
    }
  }

  #pace(signal: AbortSignal): ReadPace {
    const { clock, config, targets } = this.#deps;
    let owedMs = 0;
    return async (bytes) => {
      const busy = this.#publishing > 0 || targets().some(({ worker }) => worker.state.phase === 'pushing');
      owedMs += (bytes / config().scrub.bytesPerSecond) * 1000 * (busy ? slowdown : 1);
      if (owedMs < shortestPauseMs) return;
      const pauseMs = owedMs;
      owedMs = 0;
      await clock.sleep(pauseMs, { signal });
    };
  }
}
