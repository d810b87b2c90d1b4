/** The memory settings under which the systemd unit runs the daemon: figures are taken under the same. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const unit = readFileSync(resolve(import.meta.dirname, '../../systemd/lockstepd.service'), 'utf8');
const [, nodeOptions = '', malloc = ''] = /NODE_OPTIONS=([^"]*)" (.*)/.exec(unit) ?? [];

export const unitEnvironment: Readonly<Record<string, string>> = {
  NODE_OPTIONS: nodeOptions,
  ...Object.fromEntries(malloc.split(' ').map((setting) => setting.split('='))),
};
