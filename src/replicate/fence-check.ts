/** Looks at what a mirror holds before its indexes are replaced, and refuses the push that would set it back or hide a stranger's work. */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { TransportError } from '../errors.ts';
import { parseTrace, traceFile, traceLimit } from '../store/trace.ts';
import { escapeText } from '../system/log.ts';
import { type FenceFacts, type FenceVerdict, type Held, judge } from './fence.ts';
import type { PushDeps } from './ports.ts';
import type { Transport } from './transport.ts';

const indexLimit = 64 * 1024 * 1024;

export class MirrorFence {
  readonly #mirror: string;
  readonly #transport: Transport;
  readonly #deps: Pick<PushDeps, 'store' | 'log' | 'primary' | 'takes'>;
  #forced = false;

  constructor(mirror: string, transport: Transport, deps: Pick<PushDeps, 'store' | 'log' | 'primary' | 'takes'>) {
    this.#mirror = mirror;
    this.#transport = transport;
    this.#deps = deps;
  }

  /** An operator has said that what is there may go, whatever it is: until a push has ended well. */
  force(): void {
    this.#forced = true;
  }

  /** A push has ended well. */
  passed(): void {
    this.#forced = false;
  }

  /**
   * Resolves when the indexes may be replaced; throws TransportError `ahead`, `content_unknown` or `drifted`. An account that
   * cannot be read is taken at the word of the probe, and so is a mirror without doubts whose reads are dear. With `traceOnly`
   * the trace is read in any case, and decides alone.
   */
  async check(signal: AbortSignal, { traceOnly = false } = {}): Promise<void> {
    if (this.#forced) return;
    const facts = this.#facts();
    if (facts === null) return;
    const { read, readIsDear } = this.#transport;
    const warm = facts.confirmed !== null && !facts.strange;
    if (!read || (warm && readIsDear && !traceOnly)) return this.#decide(this.#blind(facts));
    let verdict: FenceVerdict;
    try {
      verdict = await this.#look(read, facts, signal, traceOnly);
    } catch (error) {
      if (!(error instanceof TransportError) || error.reason !== 'option_refused') throw error;
      verdict = this.#blind(facts);
    }
    this.#decide(verdict);
  }

  #facts(): FenceFacts | null {
    const { generations, mirrors } = this.#deps.store;
    const current = generations.current();
    if (!current) return null;
    const { serves, confirmed, unknownContent: strange } = mirrors.get(this.#mirror);
    const { number: generation, publishedAtMs } = current;
    const lastOf = (path: string, sha256: string): number | null | undefined => {
      const range = generations.rangeOf(posix.dirname(path), sha256);
      return range === null ? undefined : range.last;
    };
    return { primary: this.#deps.primary ?? null, generation, publishedAtMs, serves, confirmed, strange, lastOf };
  }

  async #look(
    read: NonNullable<Transport['read']>,
    facts: FenceFacts,
    signal: AbortSignal,
    traceOnly: boolean,
  ): Promise<FenceVerdict> {
    const bytes = await read(traceFile, traceLimit, { signal });
    const trace = bytes === null ? null : parseTrace(bytes.toString('utf8'));
    const verdict = judge({ trace, indexes: null }, facts);
    if (verdict.verdict !== 'look' || traceOnly) return verdict;
    const indexes = new Map<string, string>();
    for (const { repository, file } of this.#deps.store.generations.indexesAt(facts.generation)) {
      if (!this.#deps.takes(repository)) continue;
      const path = `${repository}/${file}`;
      const index = await read(path, indexLimit, { signal });
      if (index !== null) indexes.set(path, createHash('sha256').update(index).digest('hex'));
    }
    const held: Held = { trace, indexes };
    return judge(held, facts);
  }

  #blind({ serves, strange }: FenceFacts): FenceVerdict {
    return serves !== null && strange
      ? { verdict: 'unknown', detail: 'a probe saw an index there that was never published here' }
      : { verdict: 'go' };
  }

  #decide(verdict: FenceVerdict): void {
    if (verdict.verdict === 'go' || verdict.verdict === 'look') return;
    const { store, log } = this.#deps;
    const detail = escapeText(verdict.detail);
    switch (verdict.verdict) {
      case 'drifted':
        store.mirrors.doubt(this.#mirror);
        log.warn('mirror_drifted', { mirror: this.#mirror, detail });
        throw new TransportError('drifted', 'retryable', `somebody changed the mirror: ${detail}: it is compared anew`);
      case 'ahead':
        throw new TransportError(
          'ahead',
          'retryable',
          `the mirror is ahead: ${detail}: it is left alone until our own inbox has brought that; to set it back: lockstepd push ${this.#mirror} --force`,
        );
      case 'unknown':
        throw new TransportError(
          'content_unknown',
          'security',
          `the mirror holds something else: ${detail}: find out who writes there; to overwrite it: lockstepd push ${this.#mirror} --force`,
        );
      default:
        verdict satisfies never;
    }
  }
}
