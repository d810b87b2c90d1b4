/** Makes the transport that a mirror's configuration names. */
import type { TransportConfig } from '../config/mirror-schema.ts';
import { createDirectoryTransport } from './directory.ts';
import { createRcloneTransport } from './rclone.ts';
import { createRsyncTransport } from './rsync.ts';
import { createSftpTransport } from './sftp.ts';
import { unreachableFiles } from './trigger.ts';
import type { Transport } from './transport.ts';

/** `bytesPerSecond` is for a program that cannot be held back from outside. */
export function createTransport(config: TransportConfig, bytesPerSecond: number | null): Transport {
  switch (config.type) {
    case 'directory':
      return createDirectoryTransport({ path: config.path });
    case 'rclone':
      return createRcloneTransport({ ...config, bytesPerSecond });
    case 'rsync':
    case 'sftp': {
      const { host, port, user, identity, hostKeys, path, stallMs, deadlineMs } = config;
      const fsync = config.fsync === 'always';
      const options = { target: { host, port, user, identity, hostKeys }, path, stallMs, deadlineMs, fsync };
      return config.type === 'rsync' ? createRsyncTransport(options) : createSftpTransport(options);
    }
    case 'trigger':
    case 'pull':
      return unreachableFiles;
    default:
      return config satisfies never;
  }
}

/** Where a mirror is, as one line: when it changes, nothing is known of what is there. `url`: where it is only looked at. */
export function placeOf(config: TransportConfig, url: string | null): string {
  switch (config.type) {
    case 'directory':
      return `directory ${config.path}`;
    case 'rclone':
      return `rclone ${config.remote}`;
    case 'pull':
      return `pull ${url}`;
    case 'trigger':
      return `trigger ${config.user}@${config.host}:${config.port} ${url}`;
    case 'rsync':
    case 'sftp':
      return `${config.type} ${config.user}@${config.host}:${config.port} ${config.path}`;
    default:
      return config satisfies never;
  }
}
