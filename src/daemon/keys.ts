/**
 * Keeps the keyrings of all inboxes in line with their directories while the daemon runs, and says of published indexes whether
 * their key is still trusted. What counts is what is read from the disk; events only make it sooner. Deletes nothing.
 */
import { keyStateOf, type KeyState } from '../config/key-scope.ts';
import type { Config, InboxConfig } from '../config/schema.ts';
import { matchTemplate } from '../config/template.ts';
import { messageOf } from '../errors.ts';
import { IndexWatcher } from '../ingest/watch.ts';
import type { KeyProblemFacts } from '../observe/status.ts';
import type { IndexRow } from '../store/generations.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../system/clock.ts';
import { Wake } from '../system/limit.ts';
import type { Log } from '../system/log.ts';
import { type KeyFault, type Keyring, readKeyring, type TrustedKey } from '../trust/keyring.ts';
import { keyFingerprint } from '../trust/public-key.ts';
import { validityAt } from '../trust/standing.ts';

export interface KeyKeeperDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  /** The keys of this builder are others now: what it has uploaded is to be judged anew, soon rather than at its next look. */
  readonly onChange: (builder: string) => void;
}

interface InboxKeys {
  readonly config: InboxConfig;
  readonly keyring: Keyring;
  readonly keys: readonly (TrustedKey & { readonly fingerprint: string })[];
  readonly faults: readonly KeyFault[];
  /** What the keyring amounts to, standing of each key included; another text means another judgement. */
  readonly text: string;
}

/** A copy of a key file is written in more than one step. */
const settleMs = 200;
const secondLookMs = 300;

export class KeyKeeper implements AsyncDisposable {
  readonly #deps: KeyKeeperDeps;
  readonly #watcher: IndexWatcher;
  readonly #wake = new Wake();
  #inboxes: ReadonlyMap<string, InboxKeys> = new Map();
  #rescanMs = 60_000;
  /** A directory was not watched before: what came before the watch was there has woken nobody. */
  #lookAgain = false;
  /** Faults and states that were told; each is told once. */
  #toldFaults = new Set<string>();
  readonly #toldStates = new Map<string, KeyState>();

  constructor(deps: KeyKeeperDeps) {
    this.#deps = deps;
    this.#watcher = new IndexWatcher({ onChange: () => this.#wake.wake(), clock: deps.clock, log: deps.log });
  }

  /** The same object until a key comes, goes, changes, expires or begins to be valid. */
  keyring(builder: string): Keyring {
    return this.#inboxes.get(builder)?.keyring ?? { keys: [] };
  }

  /** A generation was published: look at its keys soon. */
  wake(): void {
    this.#wake.wake();
  }

  /** Reads the keys of the inboxes of a configuration; from now on they are the ones that are kept. */
  async configure({ inboxes, schedule }: Pick<Config, 'inboxes' | 'schedule'>): Promise<void> {
    this.#rescanMs = schedule.rescanMs;
    const before = this.#inboxes;
    const read = await this.#read(inboxes);
    this.#take(read);
    this.#tellChanges(
      before,
      [...read].filter(([builder]) => before.has(builder)),
    );
  }

  /** Runs until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    for (;;) {
      signal.throwIfAborted();
      try {
        await this.#refresh();
        this.#tellStates();
      } catch (error) {
        log.error('keys_failed', { detail: messageOf(error), kept: 'the keys that were read last' });
      }
      const restMs = Math.min(this.#lookAgain ? secondLookMs : this.#rescanMs, this.#untilNextLimitMs());
      this.#lookAgain = false;
      const woken = await this.#wake.wait((stop) => clock.sleep(restMs, { signal: AbortSignal.any([signal, stop]) }));
      signal.throwIfAborted();
      if (woken) await clock.sleep(settleMs, { signal });
    }
  }

  /** Whether the key of a published index would be accepted today. */
  stateOf(index: IndexRow): KeyState {
    const inboxes = [...this.#inboxes.values()];
    const inbox =
      this.#inboxes.get(index.builder) ??
      inboxes.find(({ config }) => config.repositories.some((t) => matchTemplate(t, index.repository) !== null));
    return keyStateOf(index, inbox?.keys ?? null, this.#deps.clock.now());
  }

  problems(): KeyProblemFacts[] {
    return [...this.#inboxes].flatMap(([builder, { faults }]) =>
      faults.map(({ path, message }) => ({ builder, path, detail: message })),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watcher[Symbol.asyncDispose]();
  }

  async #refresh(): Promise<void> {
    const before = this.#inboxes;
    const read = await this.#read([...before.values()].map(({ config }) => config));
    // A reload came in between, and has read them itself.
    if (this.#inboxes !== before) return;
    this.#take(read);
    this.#tellChanges(before, read);
  }

  #tellChanges(before: ReadonlyMap<string, InboxKeys>, now: Iterable<readonly [string, InboxKeys]>): void {
    for (const [builder, { keyring, text }] of now) {
      if (before.get(builder)?.text === text) continue;
      this.#deps.log.info('keys_changed', { builder, keys: keyring.keys.map((key) => key.name) });
      this.#deps.onChange(builder);
    }
  }

  async #read(inboxes: readonly InboxConfig[]): Promise<ReadonlyMap<string, InboxKeys>> {
    if (this.#watcher.watch(inboxes.flatMap(({ keys }) => keys.map(({ directory }) => directory))))
      this.#lookAgain = true;
    const nowMs = this.#deps.clock.now();
    const read = new Map<string, InboxKeys>();
    for (const config of inboxes) {
      const { keyring, faults } = await readKeyring(config.keys, config.signatureAlgorithms);
      const text = JSON.stringify([keyring, keyring.keys.map((key) => validityAt(key, nowMs))]);
      const known = this.#inboxes.get(config.builder);
      if (known?.text === text) read.set(config.builder, { ...known, config, faults });
      else {
        const keys = keyring.keys.map((key) => ({ ...key, fingerprint: keyFingerprint(key.pem) }));
        read.set(config.builder, { config, keyring, keys, faults, text });
      }
    }
    return read;
  }

  #take(read: ReadonlyMap<string, InboxKeys>): void {
    this.#inboxes = read;
    const problems = this.problems();
    const told = new Set(problems.map((problem) => JSON.stringify(problem)));
    for (const problem of problems) {
      if (!this.#toldFaults.has(JSON.stringify(problem))) this.#deps.log.error('key_unusable', { ...problem });
    }
    this.#toldFaults = told;
  }

  /** One line when a published index loses its key, one when it is in order again. */
  #tellStates(): void {
    const { generations } = this.#deps.store;
    const indexes = generations.indexesAt(generations.current()?.number ?? 0);
    for (const index of indexes) {
      const { repository, file, signedBy, builder } = index;
      const state = this.stateOf(index);
      const before = this.#toldStates.get(pathOf(index)) ?? 'valid';
      if (state === before) continue;
      this.#toldStates.set(pathOf(index), state);
      const fields = { repository, index: file, builder, key: signedBy, state };
      if (state === 'valid') this.#deps.log.info('index_key_trusted', fields);
      else
        this.#deps.log.error('index_key_untrusted', {
          ...fields,
          hint: 'it is still served: publish an index by a trusted key, or put the key back if it was removed by mistake',
        });
    }
    const served = new Set(indexes.map(pathOf));
    for (const path of this.#toldStates.keys()) if (!served.has(path)) this.#toldStates.delete(path);
  }

  /** How long until a key begins to be valid or expires. */
  #untilNextLimitMs(): number {
    const nowMs = this.#deps.clock.now();
    const limits = [...this.#inboxes.values()].flatMap(({ keyring }) =>
      keyring.keys.flatMap(({ notBeforeMs, notAfterMs }) => [
        ...(notBeforeMs === undefined ? [] : [notBeforeMs - nowMs]),
        ...(notAfterMs === undefined ? [] : [notAfterMs + 1 - nowMs]),
      ]),
    );
    return Math.min(...limits.filter((ms) => ms > 0), Number.MAX_SAFE_INTEGER);
  }
}

function pathOf({ repository, file }: IndexRow): string {
  return `${repository}/${file}`;
}
