/** Looks at what a mirror holds before its indexes are replaced, and refuses the push that would set it back or hide a stranger's work. */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { TransportError } from '../errors.ts';
import { parseTrace, traceFile, traceLimit } from '../store/trace.ts';
import { escapeText } from '../system/log.ts';
import type { Standing } from './fellow.ts';
import { type FenceFacts, type FenceVerdict, type Held, judge } from './fence.ts';
import { isNamesake, namesakeHint } from './namesake.ts';
import type { PushDeps } from './ports.ts';
import type { Transport } from './transport.ts';

const indexLimit = 64 * 1024 * 1024;

type FenceDeps = Pick<PushDeps, 'store' | 'log' | 'primary' | 'takes' | 'vouch' | 'shared'>;

export class MirrorFence {
  readonly #mirror: string;
  readonly #transport: Transport;
  readonly #deps: FenceDeps;
  #forced = false;
  #namesakeTold = false;
  #sawAnother = false;

  constructor(mirror: string, transport: Transport, deps: FenceDeps) {
    this.#mirror = mirror;
    this.#transport = transport;
    this.#deps = deps;
  }

  /** Another primary writes there too: the configuration says so, or its work was seen where ours was before. */
  get isShared(): boolean {
    return this.#deps.shared === true || this.#sawAnother;
  }

  /** An operator has said that what is there may go, whatever it is: until that is taken back. */
  force(wanted: boolean): void {
    this.#forced = wanted;
  }

  /**
   * Resolves when the indexes may be replaced; throws TransportError `ahead`, `content_unknown` or `drifted`. An account that
   * cannot be read is taken at the word of the probe, and so is a mirror without doubts whose reads are dear, unless it is shared
   * with another primary. With `traceOnly`
   * the trace is read in any case, and decides alone unless it names what was never published here.
   */
  async check(signal: AbortSignal, { traceOnly = false } = {}): Promise<void> {
    if (this.#forced) return;
    const facts = this.#facts();
    if (facts === null) return;
    const { read, readIsDear } = this.#transport;
    const warm = facts.confirmed !== null && !facts.strange && facts.newer !== true && !this.isShared;
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
    const { generations, mirrors, takeover } = this.#deps.store;
    const current = generations.current();
    if (!current) return null;
    const { serves, confirmed, unknownContent: strange, ahead: newer } = mirrors.get(this.#mirror);
    const vouches = this.#deps.vouch !== undefined;
    const { number: generation, publishedAtMs } = current;
    const lastOf = (path: string, sha256: string): number | null | undefined => {
      const range = generations.rangeOf(posix.dirname(path), sha256);
      if (range !== null) return range.last;
      // Ours, from before the records were lost: a mirror that was behind then is brought up as any other.
      return takeover.wasPublishedBefore(sha256) ? 0 : undefined;
    };
    const primary = this.#deps.primary ?? null;
    const publishedAtOf = (number: number): number | null => generations.publishedAtExactly(number);
    return { primary, generation, publishedAtMs, serves, confirmed, strange, newer, vouches, publishedAtOf, lastOf };
  }

  async #look(
    read: NonNullable<Transport['read']>,
    facts: FenceFacts,
    signal: AbortSignal,
    traceOnly: boolean,
  ): Promise<FenceVerdict> {
    const bytes = await read(traceFile, traceLimit, { signal });
    const trace = bytes === null ? null : parseTrace(bytes.toString('utf8'));
    const namesake = trace !== null && isNamesake(trace, facts);
    if (namesake && !this.#namesakeTold)
      this.#deps.log.error('primary_name_taken', { mirror: this.#mirror, primary: trace.primary, hint: namesakeHint });
    this.#namesakeTold = namesake;
    const verdict = judge({ trace, indexes: null }, facts);
    if (verdict.verdict === 'look' && verdict.foreign && facts.serves !== null) this.#meet(trace?.primary ?? null);
    if (verdict.verdict !== 'look' || (traceOnly && !verdict.foreign)) return verdict;
    const indexes = new Map<string, string>();
    const standings = new Map<string, Standing>();
    for (const path of this.#pathsToLookAt(facts)) {
      const index = await read(path, indexLimit, { signal });
      if (index === null) continue;
      const sha256 = createHash('sha256').update(index).digest('hex');
      indexes.set(path, sha256);
      if (this.#deps.vouch && facts.lastOf(path, sha256) === undefined)
        standings.set(path, await this.#deps.vouch(path, index, signal));
    }
    const held: Held = { trace, indexes, standings };
    return judge(held, facts);
  }

  #meet(primary: string | null): void {
    const { log } = this.#deps;
    if (!this.isShared)
      log.warn('other_primary_seen', {
        mirror: this.#mirror,
        primary,
        hint: 'give this one a publish.primary of its own: then what only the other one knows is left alone after a restart too',
      });
    this.#sawAnother = true;
  }

  /** What a push may replace; and on a shared mirror what it may remove, for it may be there anew. */
  #pathsToLookAt({ generation, confirmed }: FenceFacts): string[] {
    const { generations } = this.#deps.store;
    const paths = generations.indexesAt(generation).map(({ repository, file }) => `${repository}/${file}`);
    if (this.isShared) paths.push(...generations.indexesLeft(confirmed, generation));
    return paths.filter((path) => this.#deps.takes(posix.dirname(path)));
  }

  #blind({ serves, strange, newer }: FenceFacts): FenceVerdict {
    if (newer === true && !strange)
      return {
        verdict: 'ahead',
        detail: 'a probe saw an index there that is signed by a trusted key and newer than ours',
      };
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
