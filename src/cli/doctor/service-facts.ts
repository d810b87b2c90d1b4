/** Gathers whether a daemon runs, who has its port, and how systemd is to run it. */
import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../../config/schema.ts';
import { errnoOf, OperationError } from '../../errors.ts';
import { askDaemon } from '../../system/control.ts';
import type { Machine } from './machine.ts';
import { isHandedOver, secretsOf } from './path-facts.ts';
import type { ServiceFacts } from './service.ts';

/** A daemon that lives says how it does at once. */
const answerMs = 5000;
/** In the order in which the first wins: systemd.unit(5). */
const unitDirectories = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];
const unitName = 'lockstepd.service';

export type SystemdFacts = NonNullable<ServiceFacts['systemd']>;

export async function gatherService(
  machine: Machine,
  config: Config,
  systemd: SystemdFacts | null,
): Promise<ServiceFacts> {
  const { root, state, mirrors, listen } = config;
  const credentials = secretsOf(config).filter(({ path }) => isHandedOver(path));
  return {
    socket: await seeSocket(machine, config.socket),
    port: { ...listen, state: await seePort(listen) },
    systemd,
    writes: [
      root,
      state,
      ...mirrors.flatMap(({ transport }) => (transport.type === 'directory' ? [transport.path] : [])),
    ],
    credentials: [...new Set(credentials.map(({ path }) => basename(path)))],
  };
}

/** Null where no systemd runs. */
export async function gatherSystemd(machine: Machine): Promise<SystemdFacts | null> {
  if ((await machine.path('/run/systemd/system')).kind !== 'directory') return null;
  let unit: SystemdFacts['unit'] = null;
  const dropIns: { path: string; text: string }[] = [];
  for (const directory of unitDirectories) {
    const path = join(directory, unitName);
    const text = await machine.text(path);
    if (unit === null && text !== null) unit = { path, text };
    const names = (await readdir(`${path}.d`).catch(() => [])).filter((name) => name.endsWith('.conf'));
    for (const name of names.sort()) {
      const file = join(`${path}.d`, name);
      // One of the same name in an earlier directory hides it.
      if (dropIns.some((other) => basename(other.path) === name)) continue;
      dropIns.push({ path: file, text: (await machine.text(file)) ?? '' });
    }
  }
  const systemctl = machine.program('systemctl');
  const enabled =
    systemctl === null || unit === null ? null : (await machine.run([systemctl, 'is-enabled', unitName])) !== null;
  // Beside src and dist alike.
  const shipped = await machine.text(fileURLToPath(new URL(`../../../systemd/${unitName}`, import.meta.url)));
  return { unit, dropIns, shipped, enabled };
}

/** The unit with its drop-ins as one text; null: none is installed. */
export function unitText(systemd: SystemdFacts | null): string | null {
  if (systemd?.unit == null) return null;
  return [systemd.unit, ...systemd.dropIns].map(({ text }) => text).join('\n');
}

async function seeSocket(machine: Machine, path: string): Promise<ServiceFacts['socket']> {
  try {
    const { status, body } = await askDaemon(path, '/status.json', undefined, answerMs);
    const generation = isRecord(body) && typeof body.generation === 'number' ? body.generation : null;
    return { path, state: status === 200 ? 'answers' : 'other', generation };
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    const { kind } = await machine.path(path);
    const state = stateOfSocket(errnoOf(error.cause), kind);
    return { path, state, generation: null };
  }
}

function stateOfSocket(code: string | undefined, kind: string): ServiceFacts['socket']['state'] {
  if (code === 'ENOENT') return 'absent';
  if (code === 'EACCES' || kind === 'unseen') return 'unseen';
  return code === 'ECONNREFUSED' && kind === 'other' ? 'silent' : 'other';
}

async function seePort({ host, port }: Config['listen']): Promise<ServiceFacts['port']['state']> {
  if (port === 0) return 'free';
  const everywhere = host === '0.0.0.0' || host === '::';
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  const loopback = host.startsWith('127.') || host === '::1';
  if (isIP(host) !== 0 && !everywhere && !loopback && !own.includes(host)) return 'no-address';
  const to = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return new Promise((resolve) => {
    const asked = request({ host: to, port, path: '/status.json', timeout: answerMs, agent: false });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', (error) => {
      const code = errnoOf(error);
      if (code === 'ECONNREFUSED') resolve('free');
      else if (code === 'ENOTFOUND' || code === 'EADDRNOTAVAIL') resolve('no-address');
      // Somebody took the connection and answered nothing that is HTTP.
      else resolve(asked.reusedSocket || asked.socket?.bytesWritten ? 'taken' : 'unknown');
    });
    asked.on('response', (response) => {
      response.resume();
      const ours = response.statusCode === 200 && /json/.test(response.headers['content-type'] ?? '');
      resolve(ours ? 'metrics' : 'taken');
    });
    asked.end();
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
