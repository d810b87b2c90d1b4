/** Brings one file from a mirror to us, over the account that we push with. What comes is the mirror's word: the caller verifies it. */
import { open, rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { TransportConfig } from '../config/mirror-schema.ts';
import { systemClock } from '../system/clock.ts';
import { below } from './rclone-plan.ts';
import { runRclone } from './rclone-run.ts';
import { createRsyncRunner } from './rsync-run.ts';
import { createSftpCaller } from './sftp-call.ts';
import { readRemote } from './sftp-content.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import type { TransportOptions } from './transport.ts';

/** A call may be repeated; it throws a TransportError, or the signal's reason once aborted, and then nothing usable is there. */
export interface FileFetch {
  /**
   * Writes the mirror's file `path` into `directory`, which is empty and ours, under the last component of its name, at most `size`
   * bytes of it. One that the mirror lacks is a TransportError, or nothing is there.
   */
  fetch(path: string, size: number, directory: string, options: TransportOptions): Promise<void>;
  close(): Promise<void>;
}

/** Null where the account reaches no files. Throws TypeError for a target without a valid host key pin. */
export function createFetch(config: TransportConfig): FileFetch | null {
  switch (config.type) {
    case 'sftp':
    case 'rsync': {
      const { host, port, user, identity, hostKeys, path, stallMs, deadlineMs } = config;
      const options = { target: { host, port, user, identity, hostKeys }, path, stallMs, deadlineMs };
      return config.type === 'sftp' ? sftpFetch(options) : rsyncFetch(options);
    }
    case 'rclone':
      return rcloneFetch(config);
    // One that is mounted is opened where it is; one that pulls lets nobody in.
    case 'directory':
    case 'trigger':
    case 'pull':
      return null;
    default:
      return config satisfies never;
  }
}

function sftpFetch(options: Parameters<typeof createSftpCaller>[0]): FileFetch {
  const caller = createSftpCaller(options);
  return {
    fetch: async (path, size, directory, callOptions) => {
      await using target = await open(join(directory, posix.basename(path)), 'wx', 0o600);
      for await (const piece of readRemote(caller, posix.join(options.path, path), size, callOptions))
        await target.writeFile(piece);
    },
    close: () => caller.close(),
  };
}

function rsyncFetch(options: Parameters<typeof createRsyncRunner>[0]): FileFetch {
  const { at, run, close } = createRsyncRunner(options);
  return {
    fetch: (path, size, directory, callOptions) =>
      run(callOptions, { args: [`--max-size=${size}`, at(path), './'], cwd: directory, bytes: size }),
    close,
  };
}

function rcloneFetch(config: TransportConfig & { readonly type: 'rclone' }): FileFetch {
  const { remote, configFile, stallMs } = config;
  return {
    fetch: async (path, size, directory, { onBytes, signal }) => {
      const timeoutMs = deadlineFor(size);
      const target = join(directory, posix.basename(path));
      // One byte more than there may be: that is too long, and rclone stops there.
      const args = [
        'copyto',
        below(remote, path),
        target,
        `--max-transfer=${size + 1}B`,
        '--cutoff-mode=hard',
      ] as const;
      const watch = { clock: systemClock, stallMs, deadlineMs: timeoutMs, signal, onStall: () => {} };
      try {
        await withStallWatch(watch, async (inner, alive) =>
          runRclone(
            { configFile, stallMs, bytesPerSecond: null },
            {
              args: [...args],
              timeoutMs,
              signal: inner,
              onBytes: (count) => {
                alive();
                if (count > 0) onBytes?.(count);
              },
            },
          ),
        );
      } catch (error) {
        await rm(target, { force: true });
        throw error;
      }
    },
    close: () => Promise.resolve(),
  };
}
