/** Tells a mirror to pull by running a command there, as Debian's mirrors are told; what comes of it only a probe can see. */
import type { TriggerTransportConfig } from '../config/trigger-schema.ts';
import { TransportError } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import { escapeText } from '../system/log.ts';
import { SshConnection } from '../system/ssh.ts';
import { triggerFault } from './faults.ts';
import { explainFailure } from './sftp-failure.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import type { Transport } from './transport.ts';

export interface Trigger {
  /** Resolves once the mirror said that it has started. Idempotent; throws a TransportError, or the signal's reason once aborted. */
  fire(signal: AbortSignal): Promise<void>;
  /** Ends the connection; a later call connects anew. */
  close(): Promise<void>;
}

/** What a command says is kept up to this many characters. */
const saidLimit = 4096;

export function createTrigger(config: TriggerTransportConfig, clock: Clock): Trigger {
  const connection = new SshConnection(config);
  const { command, stallMs } = config;

  async function run(signal: AbortSignal, alive: () => void): Promise<void> {
    const remote = await connection.exec(command, signal);
    let said = '';
    const hear = (chunk: Buffer): void => {
      alive();
      said = (said + chunk.toString()).slice(-saidLimit);
    };
    remote.stream.on('data', hear);
    remote.stderr.on('data', hear);
    remote.stream.end();
    const stop = (): void => remote.end();
    signal.addEventListener('abort', stop, { once: true });
    try {
      const code = await remote.closed;
      if (code === 0) return;
      const { reason, kind, message } = triggerFault(code, escapeText(said));
      throw new TransportError(reason, kind, message);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  return {
    fire: async (signal) => {
      const watch = {
        clock,
        stallMs,
        deadlineMs: deadlineFor(0),
        signal,
        onStall: (error: Error) => connection.reset(error),
      };
      try {
        await withStallWatch(watch, run);
      } catch (error) {
        signal.throwIfAborted();
        throw await explainFailure(error, undefined, '');
      }
    },
    close: () => connection.close(),
  };
}

/** The files of a mirror that gets them by itself: nobody here may list, put or remove any. */
export const unreachableFiles: Transport = {
  list: () => Promise.reject(noFiles()),
  put: () => Promise.reject(noFiles()),
  remove: () => Promise.reject(noFiles()),
  close: () => Promise.resolve(),
};

function noFiles(): TransportError {
  return new TransportError('option_refused', 'permanent', 'the mirror pulls by itself: its files are its own');
}
