/** Batches land every few seconds, the daemon is killed, packages are pruned, while clients read the primary and four mirrors. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SampleRepository } from '../../src/cli/sample-builder.ts';
import { Primary } from '../support/primary.ts';
import { Findings, indexFile, type Place, readForEver } from './clients.ts';
import { startFleet } from './fleet.ts';
import { type Sample, takeSample } from './vitals.ts';

export interface SoakOptions {
  readonly seconds: number;
  /** The end of the run, in which nothing is killed. */
  readonly quietSeconds: number;
  readonly batchEveryMs: number;
  readonly killEveryMs: number;
  /** How long packages of older indexes stay. */
  readonly graceSeconds: number;
  readonly env?: Readonly<Record<string, string>>;
}

export interface SoakReport extends Pick<Findings, 'torn' | 'backwards'> {
  /** Files read, indexes included, by place. */
  readonly reads: Readonly<Record<string, number>>;
  readonly batches: number;
  readonly kills: number;
  readonly pruned: number;
  /** Places that do not serve the last batch in the end. */
  readonly lost: readonly string[];
  /** The program for want of which there were fewer mirrors. */
  readonly missing: string | undefined;
  readonly samples: readonly Sample[];
  /** Used pages of state.db and the generations recorded in it, at each third of the run. */
  readonly state: readonly { readonly pages: number; readonly generations: number }[];
}

const repositoryPath = 'main/x86_64';
const packages = 12;
const inbox = '    settle: 200ms';
const pruneEveryMs = 30_000;

export async function soak(options: SoakOptions): Promise<SoakReport> {
  await using primary = await Primary.create({ inbox });
  await using fleet = await startFleet(join(primary.directory, 'mirrors'));
  await primary.configure({
    inbox,
    mirrors: fleet.yaml,
    more: `publish: { grace: ${options.graceSeconds}s, keep_trees_for: 0s, max_trees: 3 }\nguards: { downgrade: allow, rebuilt: allow }`,
  });
  const places = [['public', primary.public] as const, ...fleet.directories].map(
    ([name, directory]): Place => ({ name, directory: join(directory, repositoryPath) }),
  );
  const run = new Run(primary, options);
  await run.begin();
  const findings = new Findings();
  const stop = new AbortController();
  const reading = { graceMs: options.graceSeconds * 1000, signal: stop.signal };
  const readers = places.map((place) => readForEver(place, findings, (sha256) => run.uploads.get(sha256), reading));
  try {
    await run.untilOver();
    const lost = await untilEverywhere(places, run.repository, 120_000);
    await untilRead(findings, 60_000);
    const { batches, kills, pruned, samples, state } = run;
    const { reads, torn, backwards } = findings;
    return { reads, torn, backwards, batches, kills, pruned, lost, missing: fleet.missing, samples, state };
  } finally {
    stop.abort();
    await Promise.all(readers);
  }
}

/** The builder, the killer and the meter, by one clock. */
class Run {
  readonly repository: SampleRepository;
  /** SHA-256 of each index -> the number of its batch. */
  readonly uploads = new Map<string, number>();
  readonly samples: Sample[] = [];
  readonly state: { pages: number; generations: number }[] = [];
  batches = 0;
  kills = 0;
  pruned = 0;
  readonly #primary: Primary;
  readonly #options: SoakOptions;
  #bornAt = 0;

  constructor(primary: Primary, options: SoakOptions) {
    this.#primary = primary;
    this.#options = options;
    this.repository = primary.repository(repositoryPath);
  }

  async begin(): Promise<void> {
    for (let n = 0; n < packages; n++)
      this.repository.set({ name: `p${n}`, version: '1-r0', contentBytes: 3000, seed: n });
    await this.#upload();
    await this.#start();
    await this.#primary.untilGeneration(1);
  }

  async untilOver(): Promise<void> {
    const { seconds, quietSeconds, batchEveryMs, killEveryMs } = this.#options;
    const begin = performance.now();
    const quietAt = begin + (seconds - quietSeconds) * 1000;
    let [batchAt, killAt, sampleAt, pruneAt] = [begin, begin + killEveryMs, begin, begin + pruneEveryMs];
    for (let now = begin; now < begin + seconds * 1000; now = performance.now()) {
      if (now >= batchAt) {
        batchAt = now + batchEveryMs;
        await this.#nextBatch();
      }
      if (now >= sampleAt) {
        sampleAt = now + 1000;
        this.#sample();
      }
      if (now >= pruneAt) {
        pruneAt = now + pruneEveryMs;
        await this.#prune();
      }
      if (now >= begin + (seconds * 1000 * (this.state.length + 1)) / 3) this.#measureState();
      if (now >= killAt && killAt <= quietAt) {
        await this.#primary.stop('SIGKILL');
        this.kills++;
        await this.#start();
        killAt = performance.now() + killEveryMs;
      }
      await sleep(50);
    }
    this.#measureState();
  }

  async #start(): Promise<void> {
    await this.#primary.start(this.#options.env);
    this.#bornAt = performance.now();
  }

  /** New versions of two packages; one leaves and comes back. */
  async #nextBatch(): Promise<void> {
    const number = this.batches + 1;
    for (const which of [number % packages, (number * 5) % packages])
      this.repository.set({ name: `p${which}`, version: `${number}-r0`, contentBytes: 3000, seed: 1000 + number * 2 });
    if (number % 2 === 0) this.repository.remove('coming-and-going');
    else this.repository.set({ name: 'coming-and-going', version: `${number}-r0`, contentBytes: 3000, seed: number });
    await this.#upload();
  }

  async #upload(): Promise<void> {
    this.batches++;
    this.uploads.set(createHash('sha256').update(this.repository.index()).digest('hex'), this.batches);
    await this.repository.write(this.#primary.inbox);
  }

  #sample(): void {
    const sample = takeSample(this.#primary.pid, this.kills, (performance.now() - this.#bornAt) / 1000);
    if (sample !== null) this.samples.push(sample);
  }

  async #prune(): Promise<void> {
    const { body } = await this.#primary.control('prune', { dry_run: false });
    this.pruned += (body as { due?: { files: number } }).due?.files ?? 0;
  }

  #measureState(): void {
    using db = new DatabaseSync(join(this.#primary.directory, 'state/state.db'), { readOnly: true, timeout: 5000 });
    const read = (sql: string): number => Number(Object.values(db.prepare(sql).get() ?? {})[0]);
    this.state.push({
      pages: read('PRAGMA page_count') - read('PRAGMA freelist_count'),
      generations: read('SELECT max(number) FROM generation'),
    });
  }
}

/** Places that do not come to serve the newest index in time. */
async function untilEverywhere(
  places: readonly Place[],
  repository: SampleRepository,
  timeoutMs: number,
): Promise<string[]> {
  const wanted = repository.index();
  const behind = (): string[] => places.filter(({ directory }) => !isThere(directory, wanted)).map(({ name }) => name);
  const deadline = performance.now() + timeoutMs;
  while (behind().length > 0 && performance.now() < deadline) await sleep(100);
  return behind();
}

/** What has come in the last moment is read too. */
async function untilRead({ reads }: Findings, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (Object.values(reads).includes(0) && performance.now() < deadline) await sleep(50);
}

function isThere(directory: string, index: Buffer): boolean {
  try {
    return readFileSync(join(directory, indexFile)).equals(index);
  } catch {
    return false;
  }
}
