/** When a scrub may look at a mirror and write to it: never while a push of the worker does, and never for long. */
import type { MirrorConfig } from '../config/mirror-schema.ts';
import { quietMsAt } from '../config/quiet.ts';
import type { Publisher } from '../publish/publisher.ts';
import type { Transport } from '../replicate/transport.ts';
import type { MirrorWorker } from '../replicate/worker.ts';
import type { Store } from '../store/store.ts';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';
import { takesTurns } from './scrub-content.ts';

/** A mirror that is not in step for so long is left to its pushes. */
const settleMs = 60_000;
const settlePollMs = 200;
const isQuiet = 'it is quiet there now: nothing is written or read before its quiet window is over';
const isBlocked = 'it is blocked: lockstepd mirror unblock, then scrub again';
const notInStep = 'it is not in step: pushes bring it up to date first';

export interface TurnDeps {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly clock: Clock;
}

export class MirrorTurns {
  readonly #config: MirrorConfig;
  readonly #worker: MirrorWorker;
  readonly #deps: TurnDeps;

  constructor(config: MirrorConfig, worker: MirrorWorker, deps: TurnDeps) {
    this.#config = config;
    this.#worker = worker;
    this.#deps = deps;
  }

  /** Why the mirror is left alone now. */
  get reason(): string {
    if (this.#isQuiet()) return isQuiet;
    return this.#worker.state.phase === 'blocked' ? isBlocked : notInStep;
  }

  /** As `inStep`, once it is; null when it does not come to that. */
  async settled(signal: AbortSignal): Promise<number | null> {
    const { clock } = this.#deps;
    const deadline = clock.monotonic() + settleMs;
    for (;;) {
      const generation = this.inStep();
      const isLeftAlone = this.#isQuiet() || this.#worker.state.phase === 'blocked';
      if (generation !== null || isLeftAlone || clock.monotonic() > deadline) return generation;
      await clock.sleep(settlePollMs, { signal });
    }
  }

  /** The served generation when the mirror holds it, nothing is on its way and it is not quiet there, else null. */
  inStep(): number | null {
    const { store } = this.#deps;
    if (this.#isQuiet()) return null;
    const current = store.generations.current()?.number ?? 0;
    const idle = this.#worker.state.phase === 'in-sync';
    return idle && current > 0 && store.mirrors.get(this.#config.name).confirmed === current ? current : null;
  }

  /** Compares with our tree; null when the mirror has another generation than it. */
  besideOurs<T>(
    compare: (sourceRoot: string, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T | null> {
    return this.far(async (inner) => {
      const lease = this.#deps.publisher.lease();
      if (!lease) return null;
      try {
        return this.inStep() === lease.generation ? await compare(lease.directory, inner) : null;
      } finally {
        lease.release();
      }
    }, signal);
  }

  /** A look at the mirror on a connection of our own, in a turn of the worker where two would be in each other's way. */
  far<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    return takesTurns(this.#config) ? this.errand((_transport, inner) => work(inner), signal) : work(signal);
  }

  /** Gives up when pushes do not let it have a turn: a mirror that fails is not to be waited for. */
  async errand<T>(work: (transport: Transport, signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { clock } = this.#deps;
    let state: 'waiting' | 'begun' | 'given up' = 'waiting';
    const done = this.#worker.errand(async (transport, inner) => {
      if (state === 'given up') throw new Error(this.reason);
      state = 'begun';
      return work(transport, AbortSignal.any([inner, signal]));
    });
    const over = new AbortController();
    const patience = clock.sleep(settleMs, { signal: over.signal }).then(
      () => {
        if (state === 'begun') return done;
        state = 'given up';
        throw new Error(this.reason);
      },
      () => done,
    );
    try {
      return await abortable(Promise.race([done, patience]), signal);
    } finally {
      over.abort();
    }
  }

  #isQuiet(): boolean {
    return quietMsAt(this.#config.quiet, this.#deps.clock.now()) > 0;
  }
}

/** Does `work` on the account of a mirror that we push to, whether it is in step or not. Throws for one that fails to be pushed to. */
export async function atMirror(
  config: MirrorConfig,
  deps: TurnDeps & {
    readonly targets: () => readonly { readonly config: MirrorConfig; readonly worker: MirrorWorker }[];
  },
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const worker = deps.targets().find((one) => one.config.name === config.name)?.worker;
  if (worker === undefined || worker.state.phase === 'waiting' || worker.state.phase === 'blocked')
    throw new Error(`mirror ${config.name} is not reached now`);
  await new MirrorTurns(config, worker, deps).far(work, signal);
}
