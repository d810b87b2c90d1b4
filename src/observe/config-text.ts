/** Writes what is wrong with the configuration, for `lockstepd status` and the page: one line for each. Asks nobody. */
import { escapeText } from '../system/log.ts';
import type { ConfigStatus } from './config.ts';
import type { WhenText } from './words.ts';

const problemsShown = 5;

/** Lines for a terminal, empty while the configuration in use is that of the file. */
export function renderConfigBlock(config: ConfigStatus | null, when: WhenText): string {
  if (config === null) return '';
  const { reload_failed_at: failedAt, loaded_at: loadedAt, problems, needs_restart: keys } = config;
  const failed =
    failedAt === null
      ? []
      : [`the reload ${when(failedAt)} was refused; in use is the configuration that was read ${when(loadedAt)}`];
  const more =
    problems.length > problemsShown ? [`  … and ${problems.length - problemsShown} more: see lockstepd check`] : [];
  const shown = problems.slice(0, problemsShown).map((problem) => `  ${escapeText(problem)}`);
  const restart =
    keys.length === 0 ? [] : [`changed in the configuration, and waiting for a restart: ${keys.join(', ')}`];
  return [...failed, ...shown, ...more, ...restart].map((line) => `${line}\n`).join('');
}
