/** Ends programs that a test has started. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** As a crash ends it; resolves when it is gone. */
export async function kill(child: ChildProcess | null): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'close');
  child.kill('SIGKILL');
  await ended;
}
