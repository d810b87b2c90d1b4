/** `lockstepd push MIRROR --wait`: shows how far the push is until it has ended. */
import { setTimeout as delay } from 'node:timers/promises';
import { OperationError } from '../errors.ts';
import { progressOf } from '../observe/progress.ts';
import { isInStep } from '../observe/status.ts';
import { escapeText } from '../system/log.ts';
import { exitCode, type Io } from './command.ts';
import { ProgressLine } from './progress-line.ts';
import { askStatus } from './status.ts';

const lookEveryMs = 300;
/** A worker takes what it was asked up sooner; who still waits then has been there and failed, or may not. */
const begunAfterLooks = 4;

/** 0 when the mirror has the newest generation, 3 when the push has failed or may not be. Ctrl-C ends the waiting, not the push. */
export async function waitForPush(io: Io, configFile: string, name: string): Promise<number> {
  using line = new ProgressLine(io);
  for (let idle = 0; ; ) {
    await delay(lookEveryMs, undefined, { signal: io.signal }).catch((error: unknown) => {
      throw io.signal.aborted
        ? new OperationError('STATE', `push: ${name}: not waited for any more: the push goes on`)
        : error;
    });
    const status = await askStatus(io, configFile);
    const mirror = status.mirrors.find((one) => one.name === name);
    if (mirror === undefined) throw new OperationError('STATE', `push: ${name} is no mirror of the daemon any more`);
    if (mirror.push_progress != null) line.show(progressOf(mirror.push_progress), mirror.push_progress.started_at);
    if (mirror.state === 'pushing') {
      idle = 0;
      continue;
    }
    idle++;
    if (mirror.state === 'in-sync' || (mirror.state === 'unknown' && isInStep(mirror, status.generation))) {
      line.clear();
      io.out(`${escapeText(name)}: in step, generation ${status.generation}\n`);
      return exitCode.ok;
    }
    if (idle < begunAfterLooks || mirror.state === 'behind') continue;
    line.clear();
    io.err(
      `lockstepd: push: ${escapeText(`${name}: ${mirror.state}: ${mirror.last_error ?? mirror.waits_for ?? 'not pushed'}`)}\n`,
    );
    return exitCode.behind;
  }
}
