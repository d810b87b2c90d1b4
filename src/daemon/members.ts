/** Says what each mirror to which we push counts for when mirrors switch together. */
import { blockOf, breakerOf, type MirrorState } from '../replicate/mirror.ts';
import type { Member } from '../replicate/together.ts';
import type { Store } from '../store/store.ts';
import type { MirrorParts } from './mirrors.ts';

/** Null for one that fetches for itself, or that another primary serves. */
export function memberOf({ config, worker }: MirrorParts, { mirrors }: Pick<Store, 'mirrors'>): Member | null {
  if (worker === null || config.transport.type === 'trigger') return null;
  const { confirmed, serves, staged, takenOverAtMs } = mirrors.get(config.name);
  if (config.takeoverAfterMs !== null && takenOverAtMs === null) return null;
  const held = [confirmed, staged].filter((generation) => generation !== null);
  const has = held.length === 0 ? null : Math.max(...held);
  return { name: config.name, has, shows: serves, out: outOf(worker.state) };
}

function outOf(state: MirrorState): string | null {
  const block = blockOf(state);
  if (block) return 'blocked';
  if (state.phase === 'waiting' && state.why === 'quiet') return 'quiet';
  return breakerOf(state) === 'closed' ? null : 'unreachable';
}
