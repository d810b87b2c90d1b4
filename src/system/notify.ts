/** Tells systemd how the service is doing (sd_notify(3)); does nothing when nobody listens, and never fails. */
import { messageOf } from '../errors.ts';
import { childEnvironment, exec } from './exec.ts';
import type { Log } from './log.ts';

/** Each call resolves when the message is delivered or given up; a failure is logged, never thrown. */
export interface Notifier {
  /** The service serves; also ends a reload. */
  ready(status: string): Promise<void>;
  reloading(): Promise<void>;
  stopping(): Promise<void>;
  /** One line for `systemctl status`. The same line twice is sent once; callers keep to one in 5 s. */
  status(text: string): Promise<void>;
  watchdog(): Promise<void>;
  /** How often systemd wants `watchdog()`, in milliseconds (a third of its patience); null when it does not. */
  readonly watchdogIntervalMs: number | null;
}

export interface NotifierOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
}

const deadlineMs = 5000;

/** Messages go through `systemd-notify` (Node has no datagram sockets of the unix kind), one after the other. */
export function createNotifier({ env, log }: NotifierOptions): Notifier {
  const socket = env.NOTIFY_SOCKET;
  let last: Promise<void> = Promise.resolve();
  let shown = '';
  const send = (...assignments: string[]): Promise<void> => {
    if (socket === undefined || socket === '') return Promise.resolve();
    last = last.then(() => deliver(socket, assignments, log));
    return last;
  };
  return {
    ready: (status) => {
      shown = oneLine(status);
      return send('READY=1', `STATUS=${shown}`);
    },
    reloading: () => send('RELOADING=1'),
    stopping: () => send('STOPPING=1'),
    status: (text) => {
      if (oneLine(text) === shown) return Promise.resolve();
      shown = oneLine(text);
      return send(`STATUS=${shown}`);
    },
    watchdog: () => send('WATCHDOG=1'),
    watchdogIntervalMs: socket ? watchdogInterval(env) : null,
  };
}

async function deliver(socket: string, assignments: readonly string[], log: Log): Promise<void> {
  try {
    // It waits until systemd has read the message, so that the sender can still be told to belong to the unit.
    const result = await exec(['systemd-notify', ...assignments], {
      env: childEnvironment({ NOTIFY_SOCKET: socket }),
      timeoutMs: deadlineMs,
    });
    if (result.code === 0) return;
    const why = result.timedOut ? `no answer within ${deadlineMs} ms` : result.stderr.trim();
    log.warn('notify_failed', { message: assignments.join(' '), exit_code: result.code, detail: why });
  } catch (error) {
    log.warn('notify_failed', { message: assignments.join(' '), detail: messageOf(error) });
  }
}

/** sd_watchdog_enabled(3): WATCHDOG_USEC counts only for the process that WATCHDOG_PID names, if it names one. */
function watchdogInterval(env: NotifierOptions['env']): number | null {
  const { WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = env;
  if (usec === undefined || !/^[1-9]\d{0,15}$/.test(usec)) return null;
  if (pid !== undefined && pid !== String(process.pid)) return null;
  return Math.max(1, Math.floor(Number(usec) / 1000 / 3));
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
