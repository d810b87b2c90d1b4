/** Compares what a mirror holds with what it was confirmed to hold, and has its worker mend the differences between pushes. */
import { isShared, type MirrorConfig } from '../config/mirror-schema.ts';
import { isInPart } from '../config/part.ts';
import { messageOf } from '../errors.ts';
import type { MirrorScrub } from '../observe/scrub.ts';
import type { Publisher } from '../publish/publisher.ts';
import { createTransport } from '../replicate/connect.ts';
import type { ContentCheck, KnownFile } from '../replicate/content.ts';
import { filesOf, indexFilesOf, isOfKilledRsync, leftOverIn, planComparison } from '../replicate/plan.ts';
import type { PushFile, RemoteFile, Transport } from '../replicate/transport.ts';
import type { MirrorWorker } from '../replicate/worker.ts';
import type { PackageRow } from '../store/generations.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { ReadPace } from '../system/read-paced.ts';
import { createContentCheck, isRefused, takesTurns } from './scrub-content.ts';
import { pieces, Sample } from './scrub-sample.ts';
import { MirrorTurns } from './scrub-turns.ts';

export interface MirrorScrubDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly graceMs: number;
  /** The name of this primary; null: it has none. */
  readonly primary: string | null;
}

export interface MirrorScrubOptions {
  /** True: only left-over temporary files are looked for. */
  readonly temporaryOnly: boolean;
  /** Packages whose content is read; null: all. */
  readonly sample: number | null;
  readonly pace: ReadPace;
  readonly onProgress: (result: MirrorScrub) => void;
}

export interface ScrubbedMirror {
  readonly config: MirrorConfig;
  readonly worker: MirrorWorker;
}

interface Listing {
  readonly files: Map<string, RemoteFile>;
  readonly generation: number;
}

type Result = { -readonly [K in keyof MirrorScrub]: MirrorScrub[K] };

const listTries = 5;
const foreignShown = 20;
const dayMs = 86_400_000;

/** Works beside the pushes on a connection of its own; only removing and mending take a turn of the worker. Rejects only once aborted. */
export async function scrubMirror(
  { config, worker }: ScrubbedMirror,
  deps: MirrorScrubDeps,
  options: MirrorScrubOptions,
  signal: AbortSignal,
): Promise<MirrorScrub> {
  const result: Result = { ...nothingFound(config.name), outcome: 'running' };
  const transport = createTransport(config.transport, config.bytesPerSecond);
  const check = createContentCheck(config);
  try {
    await new MirrorPass(config, worker, { transport, check }, deps, options, result).run(signal);
    result.outcome = result.outcome === 'running' ? 'done' : result.outcome;
  } catch (error) {
    signal.throwIfAborted();
    result.outcome = isRefused(error) ? 'skipped' : 'failed';
    result.detail = isRefused(error) ? `its account may not list files: ${error.message}` : messageOf(error);
  } finally {
    await transport.close();
    await check.close();
  }
  options.onProgress({ ...result });
  return { ...result };
}

export function nothingFound(name: string): MirrorScrub {
  const none = { files: 0, sampled: 0, missing: 0, different: 0, corrupt: 0, repaired: 0, temporary: 0, foreign: 0 };
  return { name, outcome: 'waiting', detail: null, ...none, foreign_files: [] };
}

class MirrorPass {
  readonly #config: MirrorConfig;
  readonly #worker: MirrorWorker;
  readonly #transport: Transport;
  readonly #check: ContentCheck;
  readonly #deps: MirrorScrubDeps;
  readonly #options: MirrorScrubOptions;
  readonly #result: Result;
  readonly #sample: Sample<KnownFile>;
  readonly #turns: MirrorTurns;

  // oxlint-disable-next-line max-params -- one caller, above
  constructor(
    config: MirrorConfig,
    worker: MirrorWorker,
    { transport, check }: { readonly transport: Transport; readonly check: ContentCheck },
    deps: MirrorScrubDeps,
    options: MirrorScrubOptions,
    result: Result,
  ) {
    this.#config = config;
    this.#worker = worker;
    this.#transport = transport;
    this.#check = check;
    this.#turns = new MirrorTurns(config, worker, deps);
    this.#sample = new Sample(options.sample, deps.random);
    this.#deps = deps;
    this.#options = options;
    this.#result = result;
  }

  async run(signal: AbortSignal): Promise<void> {
    for (const directory of ['.', ...this.#deps.store.damage.repositories()]) {
      signal.throwIfAborted();
      if (directory !== '.' && !isInPart(this.#config.part, directory)) continue;
      const looked = await this.#look(directory, signal);
      if (!looked) {
        this.#result.outcome = 'skipped';
        this.#result.detail = this.#turns.reason;
        return;
      }
      this.#options.onProgress({ ...this.#result });
    }
    if (!this.#options.temporaryOnly) await this.#readSamples(signal);
  }

  /** False when the mirror does not come in step. */
  async #look(directory: string, signal: AbortSignal): Promise<boolean> {
    const whole = directory !== '.' && !this.#options.temporaryOnly;
    let seen: Listing | null;
    try {
      seen = await this.#list(directory, signal);
    } catch (error) {
      if (!isRefused(error) || !this.#check.unlike || this.#options.temporaryOnly) throw error;
      this.#result.detail = 'its account may not list files: foreign and left-over ones are not seen';
      return whole ? this.#compareUnseen(directory, this.#check.unlike, signal) : true;
    }
    if (seen === null) return false;
    await this.#sweep(directory, seen.files, signal);
    if (whole) await this.#mend(this.#compare(directory, seen.files, seen.generation), false, signal);
    return true;
  }

  /** What lies in a directory while no push changes it; null when the mirror does not come in step. */
  async #list(directory: string, signal: AbortSignal): Promise<Listing | null> {
    for (let tries = 0; tries < listTries; tries++) {
      const generation = await this.#turns.settled(signal);
      if (generation === null) return null;
      const before = this.#worker.attempts;
      const files = new Map(
        await this.#turns.far((inner) => this.#transport.list(directory, { signal: inner }), signal),
      );
      if (this.#worker.attempts === before && this.#turns.inStep() === generation) return { files, generation };
    }
    return null;
  }

  /** The listing was made while no push ran: our temporary files are nobody's any more. A fresh one may be that of another rsync, or primary. */
  async #sweep(directory: string, files: Map<string, RemoteFile>, signal: AbortSignal): Promise<void> {
    const old = (file: RemoteFile): boolean => this.#deps.clock.now() - (file.mtimeSeconds ?? 0) * 1000 > dayMs;
    const shared = isShared(this.#config, this.#deps.primary);
    const left: string[] = [];
    for (const path of leftOverIn(directory, files.keys())) {
      const name = path.slice(path.lastIndexOf('/') + 1);
      const file = files.get(name);
      if (!file || ((shared || isOfKilledRsync(name)) && !old(file))) continue;
      left.push(path);
      files.delete(name);
    }
    if (left.length === 0) return;
    try {
      await this.#turns.errand((transport, inner) => transport.remove(left, { signal: inner }), signal);
    } catch (error) {
      if (!isRefused(error)) throw error;
      this.#result.detail = `its account may not delete: left-over files stay, ${left[0]} for instance`;
      return;
    }
    this.#result.temporary += left.length;
    this.#deps.log.info('mirror_swept', { mirror: this.#config.name, directory, files: left.length });
  }

  #compare(repository: string, remote: Map<string, RemoteFile>, generation: number): PushFile[] {
    const { generations } = this.#deps.store;
    const wrong: PushFile[] = [];
    const rest = new Set(remote.keys());
    const look = (files: readonly PushFile[]): void => {
      this.#result.files += files.length;
      const differing = planComparison(files, remote);
      const missing = differing.filter((file) => !remote.has(nameOf(file))).length;
      this.#result.missing += missing;
      this.#result.different += differing.length - missing;
      wrong.push(...differing);
      for (const file of files) rest.delete(nameOf(file));
    };
    for (const page of generations.packagesOf(repository, generation)) {
      const files = filesOf(page);
      look(files);
      this.#show(page);
    }
    look(indexFilesOf(generations.indexesAt(generation).filter((index) => index.repository === repository)));
    const keepAfterMs = this.#deps.clock.now() - this.#deps.graceMs;
    for (const name of rest) {
      if (!generations.isWanted(repository, name, generation, keepAfterMs)) this.#foreign(`${repository}/${name}`);
    }
    return wrong;
  }

  #foreign(path: string): void {
    this.#result.foreign++;
    if (this.#result.foreign > foreignShown) return;
    this.#result.foreign_files = [...this.#result.foreign_files, path];
    this.#deps.log.warn('mirror_foreign_file', { mirror: this.#config.name, path });
  }

  /** What was rebuilt and not read since has no digest. */
  #show(page: readonly PackageRow[]): void {
    for (const [n, file] of filesOf(page).entries()) {
      const sha256 = page[n]?.sha256 ?? '';
      if (sha256 !== '') this.#sample.show({ ...file, sha256 });
    }
  }

  /** Without a listing: the mirror's side is asked what it lacks. */
  async #compareUnseen(
    repository: string,
    unlike: NonNullable<ContentCheck['unlike']>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { generations } = this.#deps.store;
    const generation = await this.#turns.settled(signal);
    if (generation === null) return false;
    const look = async (known: readonly PushFile[]): Promise<void> => {
      // What is taken out of our tree cannot be compared with it.
      const withheld = this.#deps.store.damage.withheld();
      const files = known.filter(({ path }) => !withheld.has(path));
      const found = await this.#turns.besideOurs((root, inner) => unlike(root, files, { signal: inner }), signal);
      if (found === null) return;
      this.#result.files += files.length;
      const kinds = [...found.values()];
      this.#result.missing += kinds.filter((kind) => kind === 'missing').length;
      this.#result.different += kinds.filter((kind) => kind === 'different').length;
      await this.#mend(
        files.filter((file) => found.has(file.path)),
        false,
        signal,
      );
    };
    for (const page of generations.packagesOf(repository, generation)) {
      this.#show(page);
      await look(filesOf(page));
    }
    await look(indexFilesOf(generations.indexesAt(generation).filter((index) => index.repository === repository)));
    return true;
  }

  async #readSamples(signal: AbortSignal): Promise<void> {
    for (const piece of pieces(this.#sample.files)) {
      let wrong: readonly KnownFile[];
      try {
        wrong = await this.#differing(piece, signal);
      } catch (error) {
        if (!isRefused(error)) throw error;
        this.#result.detail = `its bytes cannot be read: ${error.message}`;
        return;
      }
      this.#result.sampled += piece.length;
      if (wrong.length === 0) continue;
      this.#result.corrupt += wrong.length;
      for (const { path } of wrong) this.#deps.log.error('mirror_corrupt', { mirror: this.#config.name, path });
      await this.#mend(wrong, true, signal);
      this.#options.onProgress({ ...this.#result });
    }
  }

  /** Those of `files` whose bytes are wrong at the mirror; none when a newer generation is on its way, which may replace them. */
  async #differing(known: readonly KnownFile[], signal: AbortSignal): Promise<readonly KnownFile[]> {
    // What is taken out of our tree cannot be compared with it.
    const withheld = this.#deps.store.damage.withheld();
    const files = known.filter(({ path }) => !withheld.has(path));
    const { pace } = this.#options;
    let read = 0;
    // In a turn of the worker nothing sleeps: a push may wait for it.
    const noted = async (bytes: number): Promise<void> => void (read += bytes);
    const wrong = await this.#turns.besideOurs(
      (root, inner) =>
        this.#check.differing(root, files, { pace: takesTurns(this.#config) ? noted : pace, signal: inner }),
      signal,
    );
    await pace(read);
    return files.filter((file) => wrong?.has(file.path) === true && this.#turns.inStep() !== null);
  }

  /** `anew`: size and time are right there, and prove nothing; what was mended is looked at again. */
  async #mend(files: readonly PushFile[], anew: false, signal: AbortSignal): Promise<void>;
  async #mend(files: readonly KnownFile[], anew: true, signal: AbortSignal): Promise<void>;
  async #mend(files: readonly (PushFile | KnownFile)[], anew: boolean, signal: AbortSignal): Promise<void> {
    const { publisher, store, log } = this.#deps;
    const withheld = store.damage.withheld();
    for (const piece of pieces(files.filter((file) => !withheld.has(file.path)))) {
      const mended = await this.#turns.errand(async (transport, inner) => {
        const lease = publisher.lease();
        if (!lease) return false;
        try {
          // A generation that came meanwhile is pushed first, and what it replaced must not come back.
          if (this.#turns.inStep() !== lease.generation) return false;
          if (piece.some(({ path }) => !path.endsWith('.apk'))) await this.#worker.requireOurs(inner);
          await transport.put(lease.directory, [piece], { signal: inner, anew });
          return true;
        } finally {
          lease.release();
        }
      }, signal);
      if (!mended) continue;
      const still = anew ? await this.#differing(piece.filter(isKnown), signal) : [];
      this.#result.repaired += piece.length - still.length;
      for (const { path } of still) log.error('mirror_not_mended', { mirror: this.#config.name, path });
      log.info('mirror_mended', { mirror: this.#config.name, files: piece.length, first: piece[0]?.path });
      await this.#options.pace(piece.reduce((bytes, file) => bytes + file.size, 0));
    }
  }
}

function isKnown(file: PushFile | KnownFile): file is KnownFile {
  return 'sha256' in file;
}

function nameOf(file: PushFile): string {
  return file.path.slice(file.path.lastIndexOf('/') + 1);
}
