/** Runs work at the times of a cron expression: the only file that knows node-cron. */
import { schedule } from 'node-cron';

/** Calls `work` at each time that `expression` names until `signal` is aborted; a call that is still running is not doubled. */
export async function runOnSchedule(expression: string, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
  let failure: { readonly error: unknown } | null = null;
  const stopped = Promise.withResolvers<void>();
  const task = schedule(
    expression,
    async () => {
      try {
        await work();
      } catch (error) {
        failure ??= { error };
        stopped.resolve();
      }
    },
    { noOverlap: true },
  );
  const stop = (): void => stopped.resolve();
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await stopped.promise;
  } finally {
    signal.removeEventListener('abort', stop);
    await task.destroy();
  }
  const failed = failure as { readonly error: unknown } | null;
  if (failed) throw failed.error;
}
