/** Decides what the demo tells of the daemon's log: which events become a line, and in which words. Prints nothing. */
import type { LogFields } from '../system/log.ts';

/** One line of the demo: who did what. */
export interface Line {
  readonly who: string;
  readonly text: string;
}

/** Generations whose publication is remembered, for the time that mirrors need. */
const remembered = 100;
/** Noise for a viewer: what the daemon does at every start and stop, and by the way. */
const untold = ['started', 'stopping', 'stopped', 'pruned', 'push_asked'];

export class Story {
  readonly #publishedAt = new Map<number, number>();
  readonly #holds = new Map<string, number>();
  readonly #lostAt = new Map<string, number>();

  /** The line for an event of the daemon's log at `nowMs` (any clock that never goes back), or null when it is of no interest. */
  tell(event: string, fields: LogFields, nowMs: number): Line | null {
    const mirror = plain(fields.mirror);
    const generation = Number(fields.generation);
    switch (event) {
      case 'batch_published':
        this.#publishedAt.set(generation, nowMs);
        this.#publishedAt.delete(generation - remembered);
        return {
          who: 'primary',
          text: `published as generation ${generation}: ${plain(fields.added)} packages in, ${plain(fields.removed)} out`,
        };
      case 'mirror_in_step':
        return { who: mirror, text: this.#arrived(mirror, generation, nowMs) };
      case 'push_retried':
      case 'push_failed':
      case 'mirror_blocked': {
        if (this.#lostAt.has(mirror)) return null;
        this.#lostAt.set(mirror, nowMs);
        return { who: mirror, text: `lost (${plain(fields.reason)}): ${plain(fields.detail)}` };
      }
      default:
        return untold.includes(event)
          ? null
          : {
              who: 'primary',
              text: [event, ...Object.entries(fields).map(([key, value]) => `${key}=${plain(value)}`)].join(' '),
            };
    }
  }

  #arrived(mirror: string, generation: number, nowMs: number): string {
    const held = this.#holds.get(mirror) ?? 0;
    const lostAt = this.#lostAt.get(mirror);
    const publishedAt = this.#publishedAt.get(generation);
    this.#holds.set(mirror, generation);
    this.#lostAt.delete(mirror);
    if (lostAt !== undefined)
      return `caught up: from generation ${held} to ${generation} in one push, ${seconds(nowMs - lostAt)} after it was lost`;
    const after = publishedAt === undefined ? '' : ` ${Math.round(nowMs - publishedAt)} ms after it was published`;
    return `in step with generation ${generation}${after}`;
  }
}

function plain(value: LogFields[string]): string {
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** `3.2 s` */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
