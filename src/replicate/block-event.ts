/** Decides when a block of a mirror, and its end, is an event for hooks. Pure. */
import type { BlockedBy, EventFacts } from '../store/events.ts';
import { blockOf, type MirrorState } from './mirror.ts';

/**
 * What is to be told now, `told` being the block that was told last (null: none, or its end). A block ends with the first push
 * that ends well, or when nothing is missing there any more: the word of whoever unblocked it is no proof.
 */
export function blockEvent(
  mirror: string,
  told: BlockedBy | null,
  state: MirrorState,
  confirmed: () => number | null,
): Extract<EventFacts, { readonly mirror: string }> | null {
  const block = blockOf(state);
  if (block !== null) {
    if (block.by === told) return null;
    const { lastFailure } = state;
    const byHand = block.by === 'operator';
    return {
      event: 'mirror_blocked',
      mirror,
      blockedBy: block.by,
      reason: byHand ? null : (lastFailure?.reason ?? null),
      detail: byHand ? (block.note ?? '') : (lastFailure?.message ?? ''),
    };
  }
  if (told === null || state.phase !== 'in-sync') return null;
  return { event: 'mirror_recovered', mirror, generation: confirmed() };
}
