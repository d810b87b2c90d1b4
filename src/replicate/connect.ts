/** Makes the transport that a mirror's configuration names. */
import type { TransportConfig } from '../config/mirror-schema.ts';
import { createDirectoryTransport } from './directory.ts';
import { createRcloneTransport } from './rclone.ts';
import { createRsyncTransport } from './rsync.ts';
import { createSftpTransport } from './sftp.ts';
import type { Transport } from './transport.ts';

export function createTransport(config: TransportConfig): Transport {
  switch (config.type) {
    case 'directory':
      return createDirectoryTransport({ path: config.path });
    case 'rclone':
      return createRcloneTransport(config);
    case 'rsync':
    case 'sftp': {
      const { host, port, user, identity, hostKeys, path, stallMs } = config;
      const fsync = config.fsync === 'always';
      const options = { target: { host, port, user, identity, hostKeys }, path, stallMs, fsync };
      return config.type === 'rsync' ? createRsyncTransport(options) : createSftpTransport(options);
    }
    default:
      return config satisfies never;
  }
}

/** Where a mirror is, as one line: when it changes, nothing is known of what is there. */
export function placeOf(config: TransportConfig): string {
  if (config.type === 'rclone') return `rclone ${config.remote}`;
  return config.type === 'directory'
    ? `directory ${config.path}`
    : `${config.type} ${config.user}@${config.host}:${config.port} ${config.path}`;
}
