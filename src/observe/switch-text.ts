/** Writes what mirrors that switch together wait for, for `lockstepd status`. */
import { escapeText } from '../system/log.ts';
import type { SwitchView } from './switch.ts';

/** One line for a terminal, empty while nothing waits. */
export function renderSwitchBlock(status: SwitchView | null): string {
  if (status === null || !status.waiting) return '';
  const missing = status.stragglers.map(escapeText).join(', ');
  return `generation ${status.generation} waits to be shown by all mirrors together: ${status.has} of ${status.of} have its packages, not ${missing}; at the latest ${status.deadline_at ?? ''}\n`;
}
