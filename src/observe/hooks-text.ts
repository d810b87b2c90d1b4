/** Writes the hooks that need a look, for `lockstepd status` and the page: one line for each. Asks nobody. */
import { escapeText } from '../system/log.ts';
import type { HookStatus } from './hooks.ts';
import { countText } from './words.ts';

/** Lines for a terminal, empty while every hook works. */
export function renderHooksBlock(hooks: readonly HookStatus[]): string {
  return hooks
    .filter(({ last_error: error, dropped }) => error !== null || dropped > 0)
    .map(({ name, last_error: error, last_outcome: outcome, pending, dropped }) => {
      const told = error === null ? 'works again' : `${outcome ?? ''}: ${error.replaceAll(/\s+/g, ' ').slice(0, 200)}`;
      const missed = dropped === 0 ? '' : `, ${countText(dropped, 'event')} dropped`;
      return `hook ${escapeText(name)} ${escapeText(told)}; ${countText(pending, 'event')} pending${missed}\n`;
    })
    .join('');
}
