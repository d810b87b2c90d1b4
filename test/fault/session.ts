/** The real ingest, publisher and store on a small repository, in this process: what the fault harnesses kill, starve and check. */
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { InboxConfig } from '../../src/config/schema.ts';
import { Quarantine } from '../../src/ingest/quarantine.ts';
import { InboxService } from '../../src/ingest/service.ts';
import { Publisher } from '../../src/publish/publisher.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { type Clock, systemClock } from '../../src/system/clock.ts';
import type { Log } from '../../src/system/log.ts';
import { type Keyring, loadKeyring } from '../../src/trust/keyring.ts';
import { Verifier } from '../../src/trust/verify.ts';

/** On a busy machine what takes a tenth of a second takes ten. */
const patienceMs = 30_000;
const troubledPatienceMs = 4000;

export const repositories = ['main/x86_64', 'main/armhf'];

/** Pauses are short: a pass that failed is tried again soon. */
const clock: Clock = {
  ...systemClock,
  sleep: (ms, options) => systemClock.sleep(Math.min(ms, 30), options),
};

/** Uploads `1` to `count` as a builder would make them one after the other, and an empty root. */
export async function makeFixture(directory: string, count: number): Promise<void> {
  const key = createSigningKey('test-1.rsa.pub');
  for (const name of ['srv/inbox/bpo', 'state', 'keys']) await mkdir(join(directory, name), { recursive: true });
  await writeFile(join(directory, 'keys', key.name), key.publicPem);
  const builders = repositories.map((path) => new SampleRepository(path, key));
  const work = join(directory, 'work');
  for (let n = 1, seed = 1; n <= count; n++) {
    for (const builder of builders) {
      if (n === 1)
        for (const name of ['a', 'b', 'c', 'd'])
          builder.set({ name, version: '1-r0', contentBytes: 1500, seed: seed++ });
      // One comes, one gets a new version, one the same version with other bytes, one leaves.
      builder.set({ name: `new-${n}`, version: '1-r0', contentBytes: 1500, seed: seed++ });
      builder.set({ name: 'a', version: `${n}-r0`, contentBytes: 1500, seed: seed++ });
      builder.set({ name: 'b', version: '1-r0', contentBytes: 1500, seed: seed++ });
      builder.remove(n === 1 ? 'd' : `new-${n - 1}`);
      await builder.write(work);
    }
    await cp(work, join(directory, 'uploads', String(n)), { recursive: true });
  }
  await rm(work, { recursive: true });
}

/** What the builder's rsync does: packages, then the indexes, then what left. */
export async function upload(directory: string, number: number, uploads = join(directory, 'uploads')): Promise<void> {
  const places = repositories.map((repository) => ({
    from: join(uploads, String(number), repository),
    to: join(directory, 'srv/inbox/bpo', repository),
  }));
  const indexFile = 'APKINDEX.tar.gz';
  for (const { from, to } of places) {
    await mkdir(to, { recursive: true });
    for (const name of await readdir(from)) {
      await cp(join(from, name), join(to, `.${name}.part`), { preserveTimestamps: true });
      if (name !== indexFile) await rename(join(to, `.${name}.part`), join(to, name));
    }
  }
  for (const { to } of places) await rename(join(to, `.${indexFile}.part`), join(to, indexFile));
  for (const { from, to } of places) {
    const names = await readdir(from);
    for (const name of await readdir(to)) if (!names.includes(name)) await rm(join(to, name));
  }
}

/**
 * What a client would find wrong: null when every served index is that of one upload, with all its packages. `spare`: path of
 * a file that is damaged already, below the public tree.
 */
export function violation(
  directory: string,
  atLeast: number,
  uploads = join(directory, 'uploads'),
  spare?: string,
): string | null {
  const tree = servedDirectory(join(directory, 'srv'));
  if (tree === null) return atLeast === 0 ? null : `nothing is served, upload ${atLeast} was published`;
  const served = new Set<string>();
  for (const repository of repositories) {
    const index = hashOf(join(tree, repository, 'APKINDEX.tar.gz'));
    const number = readdirSync(uploads).find(
      (n) => hashOfUpload(join(uploads, n, repository, 'APKINDEX.tar.gz')) === index,
    );
    // The first repository may go out before the other one.
    if (index === null && atLeast === 0) continue;
    if (number === undefined) return `${repository}: an index that was never uploaded`;
    served.add(number);
    for (const name of readdirSync(join(uploads, number, repository))) {
      const path = `${repository}/${name}`;
      if (path === spare && existsSync(join(tree, path))) continue;
      if (hashOf(join(tree, path)) !== hashOfUpload(join(uploads, number, path)))
        return `${path} of upload ${number}: absent or other bytes`;
    }
  }
  // Where no lock shows an upload, each repository goes out as soon as it is closed.
  const number = Math.min(...[...served].map(Number));
  return number < atLeast ? `upload ${number} is served, ${atLeast} was published` : null;
}

/** What `public` stands for; a plain directory that is being adopted has an instant under its other name. */
function servedDirectory(root: string): string | null {
  const path = join(root, 'public');
  const facts = lstatSync(path, { throwIfNoEntry: false });
  if (facts?.isSymbolicLink()) return join(root, readlinkSync(path));
  if (facts?.isDirectory()) return path;
  const aside = join(root, 'public.before-adopt');
  return existsSync(aside) ? aside : null;
}

/** Digests of the indexes of an upload. */
export function indexesOf(uploads: string, number: number): string[] {
  return repositories.map((repository) => hashOf(join(uploads, String(number), repository, 'APKINDEX.tar.gz')) ?? '');
}

/** True when nothing is under way and the current generation is made of these indexes. */
export function isRecorded({ generations, journal }: Store, indexes: readonly string[]): boolean {
  const current = generations.current();
  if (current === null || journal.pending() !== null) return false;
  const recorded = generations.indexesAt(current.number).map(({ sha256 }) => sha256);
  return recorded.length === indexes.length && indexes.every((sha256) => recorded.includes(sha256));
}

/** What an upload holds never changes. */
function hashOfUpload(path: string): string | null {
  const known = uploadHashes.get(path) ?? hashOf(path);
  uploadHashes.set(path, known);
  return known;
}
const uploadHashes = new Map<string, string | null>();

export function hashOf(path: string): string | null {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  } catch {
    return null;
  }
}

/** Returns the path of the configuration. */
export async function writeConfig(directory: string): Promise<string> {
  const file = join(directory, 'lockstepd.yaml');
  await writeFile(
    file,
    `root: ${join(directory, 'srv')}\nstate: ${join(directory, 'state')}\ninboxes:\n  - builder: bpo\n    path: inbox/bpo\n    settle: 10ms\n` +
      `    repositories: ["main/{arch}"]\n    keys: ${join(directory, 'keys')}\nmirrors: []\n` +
      'publish: { grace: 0s, keep_trees_for: 0s, max_trees: 2 }\nguards: { downgrade: allow, rebuilt: allow, max_removed_percent: 100 }\n',
  );
  return file;
}

export interface Parts {
  readonly inbox: InboxConfig;
  readonly keyring: Keyring;
  readonly complaints: string[];
  readonly store: Store;
  readonly verifier: Verifier;
  readonly publisher: Publisher;
  readonly service: InboxService;
}

export class Session {
  /** What was said of things that went wrong. */
  readonly complaints: string[];
  readonly parts: Parts;
  readonly #stop = new AbortController();
  readonly #verifierIsOurs: boolean;
  #running: Promise<void> | null = null;

  private constructor(parts: Parts, verifierIsOurs: boolean) {
    this.parts = parts;
    this.complaints = parts.complaints;
    this.#verifierIsOurs = verifierIsOurs;
  }

  /** Opens what lies in `directory` as a start of the daemon does, and looks at the inbox. */
  static async open(directory: string): Promise<Session> {
    const session = await Session.openQuiet(directory);
    session.start();
    return session;
  }

  /** As `open`, without looking at the inbox until `start`. A verifier that is passed in is not ended by `close`. */
  static async openQuiet(directory: string, options: { readonly verifier?: Verifier } = {}): Promise<Session> {
    const file = await writeConfig(directory);
    const root = join(directory, 'srv');
    const config = await loadConfig(file, { env: {} });
    const inbox = config.inboxes[0];
    if (inbox === undefined) throw new Error('unreachable');
    const store = openStore(config.state);
    const verifier = options.verifier ?? new Verifier({ workers: 1 });
    const complaints: string[] = [];
    const say = (event: string, fields?: object): void => void complaints.push(`${event} ${JSON.stringify(fields)}`);
    const log: Log = { debug: () => {}, info: () => {}, warn: say, error: say };
    const publisher = new Publisher({ root, ...config.publish }, { store, clock, log });
    let keyring: Keyring;
    try {
      await publisher.recover();
      keyring = await loadKeyring([join(directory, 'keys')]);
    } catch (error) {
      store[Symbol.dispose]();
      throw error;
    }
    const service = new InboxService(inbox, {
      root,
      reserveBytes: 0,
      isOfAnother: () => false,
      rescanMs: 30,
      store,
      verifier,
      keyring: () => keyring,
      quarantine: new Quarantine({ root, batches: store.batches, limits: () => config.quarantine, clock }),
      publish: (batch) => publisher.publish(batch),
      events: {
        batchEnded: (_builder, state, reasons) =>
          void (state === 'published' || complaints.push(`${state} ${JSON.stringify(reasons)}`)),
        stage: () => {},
        rescanFound: () => {},
        watch: () => false,
      },
      clock,
      log,
    });
    const parts = { inbox, keyring, complaints, store, verifier, publisher, service };
    return new Session(parts, options.verifier === undefined);
  }

  /** Begins to look at the inbox. */
  start(): void {
    this.#running = this.parts.service.run(this.#stop.signal).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.complaints.push(`ended ${String(error)}`);
      this.#stop.abort();
    });
  }

  get generation(): number {
    return this.parts.store.generations.current()?.number ?? 0;
  }

  /** Waits until `index` of an upload is served. False when that takes too long. */
  async untilServed(directory: string, number: number, uploads?: string): Promise<boolean> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      this.parts.service.wake();
      if (violation(directory, number, uploads) === null && this.generation > 0 && !this.#isPending()) return true;
      if (performance.now() > deadline) return false;
      await systemClock.sleep(10);
    }
  }

  /**
   * Waits until these indexes are recorded as served, without a look at the trees. False when that takes too long, or nobody works
   * at it; what has said that something went wrong gets less time.
   */
  async untilRecorded(indexes: readonly string[]): Promise<boolean> {
    const beganAt = performance.now();
    const isLate = (): boolean =>
      performance.now() - beganAt > (this.complaints.length === 0 ? patienceMs : troubledPatienceMs);
    for (;;) {
      this.parts.service.wake();
      if (this.#isRecorded(indexes)) return true;
      if (isLate() || this.#stop.signal.aborted) return false;
      await systemClock.sleep(5);
    }
  }

  #isRecorded(indexes: readonly string[]): boolean {
    try {
      return isRecorded(this.parts.store, indexes);
    } catch (error) {
      this.complaints.push(String(error));
      return false;
    }
  }

  /** Waits until the tree for the next generation is made. */
  async untilSpare(): Promise<void> {
    const deadline = performance.now() + patienceMs;
    const { generations } = this.parts.store;
    const isReady = (): boolean => generations.trees().filter((tree) => tree.generation > 0).length > 1;
    while (!isReady() && performance.now() < deadline && this.complaints.length === 0) await systemClock.sleep(5);
  }

  prune(): Promise<number> {
    return this.parts.publisher.prune();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.parts.publisher.stop();
    if (this.#verifierIsOurs) await this.parts.verifier[Symbol.asyncDispose]();
    this.parts.store[Symbol.dispose]();
  }

  #isPending(): boolean {
    return this.parts.store.journal.pending() !== null;
  }
}
