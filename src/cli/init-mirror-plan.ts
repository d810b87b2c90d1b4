/** Decides what `lockstepd init mirror` writes into the configuration of the primary, and what it tells the mirror's owner. */
import { UsageError } from '../errors.ts';
import { plainNameOf, plainPathOf, requireSeen } from './init-values.ts';
import type { VolunteerPart } from './init-volunteer.ts';

export interface MirrorOptions {
  readonly type: string;
  readonly url?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly user: string;
  readonly path?: string | undefined;
  readonly chroot?: string | undefined;
  readonly remote?: string | undefined;
  readonly 'rclone-config'?: string | undefined;
  readonly identity?: string | undefined;
  readonly hostKeys: readonly string[];
}

type Transport = Readonly<Record<string, unknown>> & { readonly type: string };

export interface MirrorItem {
  readonly name: string;
  readonly url?: string;
  readonly transport: Transport;
}

/** Which options each type takes beside --url. */
const login = ['host', 'port', 'identity', 'hostKeys'] as const;
const takes: Readonly<Record<string, readonly (keyof MirrorOptions)[]>> = {
  rsync: [...login, 'path'],
  sftp: [...login, 'path', 'chroot'],
  trigger: [...login, 'path'],
  directory: ['path'],
  rclone: ['remote', 'rclone-config'],
  pull: ['path'],
};
const perType = ['host', 'port', 'path', 'chroot', 'remote', 'rclone-config', 'identity'] as const;

const defaultPath = '/srv/repository';

/** The mirror as the configuration has it; without host_key where none is given. Throws UsageError. */
export function mirrorItem(name: string, options: MirrorOptions, home: string): MirrorItem {
  const me = `init mirror ${name}`;
  const { type } = options;
  const given = [...perType.filter((option) => options[option] !== undefined), ...pins(options)];
  const pointless = given.find((option) => takes[type]?.includes(option) !== true);
  if (pointless !== undefined)
    throw new UsageError(
      `${me}: --${pointless === 'hostKeys' ? 'host-key' : pointless} is not for a mirror of type ${type}`,
    );
  const { url } = options;
  if (url === undefined && (type === 'trigger' || type === 'pull'))
    throw new UsageError(`${me}: --url is missing: what a mirror that pulls holds is only known from what it serves`);
  return { name, ...(url === undefined ? {} : { url }), transport: transportOf(me, type, options, home) };
}

function transportOf(me: string, type: string, options: MirrorOptions, home: string): Transport {
  const required = (option: 'host' | 'remote' | 'path'): string => {
    const value = options[option];
    if (value === undefined) throw new UsageError(`${me}: --${option} is missing: a mirror of type ${type} needs it`);
    return value;
  };
  const path = (): string => plainPathOf(me, '--path', options.path ?? defaultPath);
  if (type === 'pull') return { type };
  if (type === 'directory') {
    const directory = plainPathOf(me, '--path', required('path'));
    requireSeen(me, directory);
    return { type, path: directory };
  }
  if (type === 'rclone')
    return { type, remote: required('remote'), config: options['rclone-config'] ?? `${home}/rclone.conf` };
  const { port, hostKeys } = options;
  if (port !== undefined && !/^\d{1,5}$/.test(port))
    throw new UsageError(`${me}: --port ${JSON.stringify(port)}: expected a number`);
  return {
    type,
    host: required('host'),
    ...(port === undefined || port === '22' ? {} : { port: Number(port) }),
    user: userOf(me, options.user),
    // rrsync takes its own directory for /.
    ...(type === 'trigger' ? {} : { path: type === 'rsync' ? '/' : path() }),
    identity: options.identity ?? `${home}/push-key`,
    ...(hostKeys.length === 0 ? {} : { host_key: hostKeys.length === 1 ? hostKeys[0] : hostKeys }),
  };
}

/** Whoever pushes is confined by sshd, which would shut out the admin there. */
function userOf(command: string, user: string): string {
  const name = plainNameOf(command, '--user', user, 32);
  if (name !== 'root') return name;
  throw new UsageError(`${command}: --user root: expected an account that is only used for this`);
}

function pins({ hostKeys }: MirrorOptions): readonly 'hostKeys'[] {
  return hostKeys.length > 0 ? ['hostKeys'] : [];
}

/** What its owner has to do; null where there is no owner but us. */
export function volunteerPart(
  item: MirrorItem,
  options: MirrorOptions,
  publicKey: string,
  primary: string,
): VolunteerPart | null {
  const { name, transport } = item;
  const me = `init mirror ${name}`;
  const { type } = transport;
  if (type !== 'rsync' && type !== 'sftp' && type !== 'trigger' && type !== 'pull') return null;
  const path = plainPathOf(me, '--path', options.path ?? defaultPath);
  const chroot = options.chroot === undefined ? null : plainPathOf(me, '--chroot', options.chroot);
  return {
    name,
    type,
    host: options.host ?? null,
    user: userOf(me, options.user),
    directory: chroot === null ? path : `${chroot}${path}`,
    chroot,
    publicKey,
    primary,
  };
}

/** What differs between two mirrors in what `wanted` says, as `KEY: ONE, not OTHER`; empty when nothing does. */
export function differences(there: unknown, wanted: MirrorItem): string[] {
  const existing = isMapping(there) ? there : {};
  const transport = isMapping(existing.transport) ? existing.transport : {};
  const compare = (key: string, one: unknown, other: unknown): string[] =>
    JSON.stringify(one) === JSON.stringify(other)
      ? []
      : [`${key}: ${one === undefined ? 'nothing' : JSON.stringify(one)}, not ${JSON.stringify(other)}`];
  return [
    ...(wanted.url === undefined ? [] : compare('url', existing.url, wanted.url)),
    ...Object.entries(wanted.transport).flatMap(([key, value]) => compare(`transport.${key}`, transport[key], value)),
  ];
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
