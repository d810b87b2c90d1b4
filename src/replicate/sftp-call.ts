/** One kept SFTP session to a mirror: every call runs under the stall watch, and its failure is explained. */
import { systemClock } from '../system/clock.ts';
import type { SftpSession } from '../system/ssh-sftp.ts';
import { SshConnection } from '../system/ssh.ts';
import { explainFailure } from './sftp-failure.ts';
import type { SshTransportOptions } from './ssh-options.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import type { TransportOptions } from './transport.ts';

export interface SftpCaller {
  readonly call: <T>(
    options: TransportOptions,
    work: (session: SftpSession, signal: AbortSignal, onBytes: (bytes: number) => void) => Promise<T>,
    /** Bytes that are to move. */
    toMove?: number,
  ) => Promise<T>;
  /** Sessions beside the one of a call, to be asked for in its work: none, or at most `count` (see `SshConnection`). */
  readonly spare: (count: number) => readonly SftpSession[];
  readonly close: () => Promise<void>;
}

/** What calls need of a connection: one session that is kept, and opened anew when it was lost; and others beside it. */
export type SftpConnection = Pick<SshConnection, 'sftp' | 'spareSftp' | 'reset' | 'close'>;

/** Throws TypeError for a target without a valid host key pin. */
export function createSftpCaller(options: SshTransportOptions, connection = connectionOf(options)): SftpCaller {
  const { path: root, clock = systemClock, stallMs = 60_000 } = options;
  /** Of the calls in hand: one that has stalled ends the connection of all, so what is heard on it counts for each. */
  const signs = new Set<() => void>();
  return {
    call: ({ signal, onBytes, waitedMs }, work, toMove = 0) => {
      const deadlineMs = deadlineFor(toMove, options.deadlineMs);
      const watch = {
        clock,
        stallMs,
        deadlineMs,
        waitedMs,
        signal,
        onStall: (error: Error) => connection.reset(error),
      };
      return withStallWatch(watch, async (inner, alive) => {
        let session: SftpSession | undefined;
        signs.add(alive);
        try {
          session = await connection.sftp(inner);
          return await work(session, inner, (bytes) => {
            for (const sign of signs) sign();
            if (bytes > 0) onBytes?.(bytes);
          });
        } catch (error) {
          inner.throwIfAborted();
          throw await explainFailure(error, session, root);
        } finally {
          signs.delete(alive);
        }
      });
    },
    spare: (count) => connection.spareSftp(count),
    close: () => connection.close(),
  };
}

function connectionOf({ target, connectTimeoutMs }: SshTransportOptions): SftpConnection {
  return new SshConnection(target, connectTimeoutMs === undefined ? {} : { connectTimeoutMs });
}
