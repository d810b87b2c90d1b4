/** Says what each mirror to which we push counts for when mirrors switch together. */
import { blockOf, breakerOf, type MirrorState } from '../replicate/mirror.ts';
import type { Member } from '../replicate/together.ts';
import type { MirrorRow } from '../store/mirrors.ts';
import type { MirrorParts } from './mirrors.ts';

/** Without those that fetch for themselves, and those that another primary serves; `rows` by name of the mirror. */
export function membersOf(mirrors: Iterable<MirrorParts>, rows: ReadonlyMap<string, MirrorRow>): Member[] {
  return [...mirrors].flatMap((parts) => {
    const row = rows.get(parts.config.name);
    return row ? (memberOf(parts, row) ?? []) : [];
  });
}

function memberOf(
  { config, worker }: MirrorParts,
  { confirmed, serves, staged, takenOverAtMs }: MirrorRow,
): Member | null {
  if (worker === null || config.transport.type === 'trigger') return null;
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
