/** Writes what a scrub found as text: one line while it runs, a summary, the block of `lockstepd status`. Asks nobody. */
import { escapeText } from '../system/log.ts';
import type { MirrorScrub, ScrubStatus } from './scrub.ts';
import { countText } from './words.ts';

const shown = 10;

/** How far a scrub is. */
function renderProgress({ files, files_total: total, corrupt, mirrors }: ScrubStatus): string {
  const done = mirrors.filter((m) => m.outcome !== 'waiting' && m.outcome !== 'running').length;
  return `${files} of ${countText(total, 'file')} read, ${corrupt} corrupt; ${done} of ${countText(mirrors.length, 'mirror')} compared`;
}

/** The whole report. */
export function renderScrub(scrub: ScrubStatus): string {
  const lines = [
    `primary: ${countText(scrub.files, 'file')} read, ${scrub.corrupt} corrupt, ${scrub.repaired} repaired, ${scrub.foreign} foreign`,
    ...(scrub.error === null ? [] : [`primary: ended early: ${escapeText(scrub.error)}`]),
    ...scrub.foreign_files.map((path) => `  foreign, left alone: ${escapeText(path)}`),
    ...scrub.mirrors.flatMap(mirrorLines),
    ...damagedLines(scrub),
  ];
  return `${lines.join('\n')}\n`;
}

/** What an operator must know at any time: damage that nobody could mend, and a scrub that runs. */
export function renderScrubBlock(scrub: ScrubStatus): string {
  const running = scrub.running ? [`scrub: ${renderProgress(scrub)}`] : [];
  return [...running, ...damagedLines(scrub)].map((line) => `${line}\n`).join('');
}

function mirrorLines(mirror: MirrorScrub): string[] {
  const { name, outcome, files, sampled, missing, different, corrupt, repaired, foreign, detail } = mirror;
  const head = `mirror ${escapeText(name)}: `;
  if (outcome === 'skipped' || outcome === 'failed') return [`${head}${outcome}: ${escapeText(detail ?? '')}`];
  const counts = `${missing} missing, ${different} different, ${corrupt} corrupt, ${repaired} repaired, ${foreign} foreign`;
  return [
    `${head}${countText(files, 'file')} compared, ${sampled} read, ${counts}`,
    ...(detail === null ? [] : [`  ${escapeText(detail)}`]),
    ...mirror.foreign_files.map((path) => `  foreign, left alone: ${escapeText(path)}`),
  ];
}

function damagedLines({ damaged }: ScrubStatus): string[] {
  const more = damaged.length > shown ? [`… and ${damaged.length - shown} more damaged files`] : [];
  const lines = damaged
    .slice(0, shown)
    .map((d) => `damaged, no good copy found, not pushed: ${escapeText(d.path)}: ${escapeText(d.detail)}`);
  return [...lines, ...more];
}
