/** Writes the brokers for `lockstepd status`: one line for each. Asks nobody. */
import { escapeText } from '../system/log.ts';
import type { AnnouncementStatus } from './announcements.ts';
import type { WhenText } from './words.ts';

export function renderAnnouncementsBlock(brokers: readonly AnnouncementStatus[], when: WhenText): string {
  return brokers
    .map((broker) => {
      const told =
        broker.generation === null
          ? 'told of nothing yet'
          : `told of generation ${broker.generation} ${when(broker.announced_at)}`;
      const next = broker.next_attempt_at === null ? '' : `, next attempt ${when(broker.next_attempt_at)}`;
      const reason = broker.last_error === null ? '' : `: ${escapeText(broker.last_error)}`;
      return `broker ${escapeText(broker.name)}: ${broker.state}, ${told}${next}${reason}\n`;
    })
    .join('');
}
