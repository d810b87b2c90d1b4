/** What the daemon does by the clock: housekeeping, the heartbeat with its status line, systemd's watchdog. */
import { messageOf } from '../errors.ts';
import type { Quarantine } from '../ingest/quarantine.ts';
import type { Publisher } from '../publish/publisher.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Notifier } from '../system/notify.ts';
import type { Supervisor } from './supervisor.ts';

const housekeepingMs = 10 * 60_000;
const heartbeatMs = 5000;

/** Removes from our trees what nothing needs any more. A failure is logged and tried again. */
export async function keepHouse(publisher: Publisher, clock: Clock, log: Log, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await publisher.removeDiscarded();
      const removed = await publisher.prune();
      if (removed > 0) log.info('pruned', { files: removed });
    } catch (error) {
      log.error('prune_failed', { detail: messageOf(error) });
    }
    await clock.sleep(housekeepingMs, { signal });
  }
}

/** Removes from the quarantine what is too old. A failure is logged and tried again. */
export async function keepQuarantine(
  quarantine: Quarantine,
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      const batches = await quarantine.prune();
      if (batches > 0) log.info('quarantine_pruned', { batches });
    } catch (error) {
      log.error('quarantine_failed', { detail: messageOf(error) });
    }
    await clock.sleep(housekeepingMs, { signal });
  }
}

/** Calls `beat` and shows its line in `systemctl status`. */
export async function keepBeating(
  beat: () => string,
  notifier: Notifier,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await notifier.status(beat());
    await clock.sleep(heartbeatMs, { signal });
  }
}

/** Tells systemd that the daemon lives, as long as it does; where nobody waits for that, nothing is started. */
export function startWatchdog(supervisor: Supervisor, isAlive: () => boolean, notifier: Notifier, clock: Clock): void {
  const everyMs = notifier.watchdogIntervalMs;
  if (everyMs === null) return;
  supervisor.start('watchdog', async (signal) => {
    for (;;) {
      if (isAlive()) await notifier.watchdog();
      await clock.sleep(everyMs, { signal });
    }
  });
}
