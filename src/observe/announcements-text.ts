/** Writes the brokers for `lockstepd status`: one line for each. Asks nobody. */
import { escapeText } from '../system/log.ts';
import type { AnnouncementStatus } from './announcements.ts';
import { whenText } from './words.ts';

export function renderAnnouncementsBlock(brokers: readonly AnnouncementStatus[], nowMs: number): string {
  return brokers
    .map((broker) => {
      const told =
        broker.generation === null
          ? 'told of nothing yet'
          : `told of generation ${broker.generation} ${whenText(broker.announced_at, nowMs)}`;
      const next = broker.next_attempt_at === null ? '' : `, next attempt ${whenText(broker.next_attempt_at, nowMs)}`;
      const reason = broker.last_error === null ? '' : `: ${escapeText(broker.last_error)}`;
      return `broker ${escapeText(broker.name)}: ${broker.state}, ${told}${next}${reason}\n`;
    })
    .join('');
}
