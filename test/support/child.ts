/** Ends programs that a test has started, with the test's process at the latest. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { findProgram } from './sshd.ts';

const keeper = findProgram('setpriv');

/** What to put before a command so that it is killed when the test's process is gone, however that ended; it keeps its id. */
export const kept: readonly string[] = keeper === undefined ? [] : [keeper, '--pdeathsig', 'KILL', '--'];

/** As a crash ends it; resolves when it is gone. */
export async function kill(child: ChildProcess | null): Promise<void> {
  if (!child || hasEnded(child)) return;
  const ended = once(child, 'close');
  child.kill('SIGKILL');
  await ended;
}

/** True once it is gone, by itself or by a signal. */
export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
