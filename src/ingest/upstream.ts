/** Reads the trace file that an upstream leaves in the inbox that it feeds, as safely as anything else there. */
import { posix } from 'node:path';
import { isIndexFileName } from '../apk/entry.ts';
import { matchesAny } from '../config/template.ts';
import type { InboxConfig } from '../config/schema.ts';
import type { GenerationStore } from '../store/generations.ts';
import { parseTrace, type Trace, traceFile, traceLimit } from '../store/trace.ts';
import type { Assessment } from './batch.ts';
import { type Gathering, gather } from './together.ts';
import type { Inbox } from './walk.ts';

/** What an upstream says of the newest that it brought, and how much of it is served here. */
export interface UpstreamStatement extends Omit<Trace, 'indexes'> {
  /** Indexes that it names and this inbox may bring, and those of them that are not served here. */
  readonly named: number;
  readonly lacking: number;
}

export class UpstreamTrace {
  readonly #config: InboxConfig;
  readonly #generations: GenerationStore;
  #stat = 'absent';
  #trace: Trace | null = null;

  constructor(config: InboxConfig, generations: GenerationStore) {
    this.#config = config;
    this.#generations = generations;
  }

  /** Reads it when it has changed; returns what to watch. Whatever cannot be read as a trace counts as none. */
  async look(inbox: Inbox): Promise<readonly { readonly path: string; readonly stat: string }[]> {
    if (this.#config.fedBy !== 'upstream') return [];
    await using directory = await inbox.directory([]);
    const opened = (await directory?.openFile(traceFile)) ?? { kind: 'absent' };
    if (opened.kind !== 'file') {
      this.#trace = null;
      this.#stat = 'absent';
    } else {
      await using handle = opened.handle;
      if (opened.stat !== this.#stat) {
        this.#trace = opened.size > traceLimit ? null : this.#ours(parseTrace(await textOf(handle, opened.size)));
        this.#stat = opened.stat;
      }
    }
    return [{ path: traceFile, stat: this.#stat }];
  }

  /** True when what is `open` need not wait for more: all of it has come, or nobody says what belongs to it. */
  isWhole(open: readonly Assessment[]): boolean {
    if (this.#config.fedBy !== 'upstream') return true;
    return this.#trace !== null && this.#gather(this.#trace, open).whole;
  }

  /** Null without a trace. */
  get statement(): UpstreamStatement | null {
    if (this.#trace === null) return null;
    const { indexes, ...said } = this.#trace;
    return { ...said, named: indexes.size, lacking: this.#gather(this.#trace, []).lacking };
  }

  /** The part that this inbox may bring; null when it names more than that may be. */
  #ours(trace: Trace | null): Trace | null {
    if (trace === null) return null;
    const { repositories, quotas } = this.#config;
    const named = [...trace.indexes].filter(([path]) => matchesAny(repositories, posix.dirname(path)));
    return named.length > quotas.maxRepositories * repositories.length ? null : { ...trace, indexes: new Map(named) };
  }

  #gather({ indexes }: Trace, open: readonly Assessment[]): Gathering {
    const served = (path: string): string | null => {
      const file = posix.basename(path);
      if (!isIndexFileName(file)) return null;
      return this.#generations.indexOf(posix.dirname(path), file)?.sha256 ?? null;
    };
    return gather(indexes, { served, open });
  }
}

/** As much as it had when it was looked at: what grows meanwhile changes its stat and is read again. */
async function textOf(
  handle: { read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }> },
  size: number,
): Promise<string> {
  const bytes = Buffer.alloc(size);
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await handle.read(bytes, filled, size - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.toString('utf8', 0, filled);
}
