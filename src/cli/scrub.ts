/** `lockstepd scrub`: has the daemon read everything that it published again, shows how far it is, and tells what it found. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Progress } from '../observe/progress.ts';
import { isSound, type ScrubStatus } from '../observe/scrub.ts';
import { renderScrub } from '../observe/scrub-text.ts';
import { escapeJson } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, requireSuccess } from './options.ts';
import { askStatus } from './status.ts';
import { ProgressLine } from './progress-line.ts';
import { spec } from './specs/scrub.ts';

const lookEveryMs = 500;

export const command: Command = { spec, run: scrub };

async function scrub(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs(spec, args);
  const file = values.config;
  const before = await ask(io, file);
  requireSuccess(await askConfigured(io, file, '/control/scrub', {}));
  const wanted = before.running ? before.number : before.number + 1;
  using line = new ProgressLine(io);
  for (;;) {
    await delay(lookEveryMs, undefined, { signal: io.signal });
    const now = await ask(io, file);
    if (now.number >= wanted && !now.running && now.finished_at !== null) {
      line.clear();
      return tell(io, now, values.json);
    }
    line.show(progressOf(now), now.started_at);
  }
}

/** The primary's files, then its mirrors. */
function progressOf({ files, files_total: total, bytes, mirrors, running }: ScrubStatus): Progress {
  const read = { what: 'files', done: files, total, bytes, bytesTotal: 0 };
  if (!running || total === 0 || files < total || mirrors.length === 0) return read;
  const compared = mirrors.filter(({ outcome }) => outcome !== 'waiting' && outcome !== 'running').length;
  return { what: 'mirrors compared', done: compared, total: mirrors.length, bytes: 0, bytesTotal: 0 };
}

async function ask(io: Io, file: string): Promise<ScrubStatus> {
  return (await askStatus(io, file)).scrub;
}

function tell(io: Io, report: ScrubStatus, json: boolean): number {
  io.out(json ? `${escapeJson(JSON.stringify(report, null, 1), { lines: true })}\n` : renderScrub(report));
  return isSound(report) ? exitCode.ok : exitCode.refused;
}
