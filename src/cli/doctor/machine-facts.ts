/** Gathers what is known of programs, limits, clock and disks. */
import { release } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../../config/schema.ts';
import { lockHolder } from '../../ingest/locks.ts';
import { stat } from 'node:fs/promises';
import type { DisksFacts } from './disks.ts';
import type { ClockFacts, LimitFacts } from './limits.ts';
import type { Machine } from './machine.ts';
import type { ProgramFacts } from './programs.ts';

/** `uploads`: accounts of their own bring files into inboxes. */
export async function gatherPrograms(machine: Machine, { mirrors }: Config, uploads: boolean): Promise<ProgramFacts> {
  const uses = (type: string): boolean => mirrors.some(({ transport }) => transport.type === type);
  const versionOf = async (name: string, argument: string, pattern: RegExp): Promise<string | null> => {
    const path = machine.program(name);
    if (path === null) return null;
    return pattern.exec((await machine.run([path, argument])) ?? '')?.[1] ?? 'unknown version';
  };
  const rrsync = machine.program('rrsync');
  const help = rrsync === null ? null : await machine.run([rrsync, '-h']);
  return {
    node: process.versions.node,
    kernel: release(),
    rsync: await versionOf('rsync', '--version', /rsync\s+version v?([\d.]+)/),
    rrsync: rrsync === null ? null : { path: rrsync, options: optionsIn(help ?? '') },
    sshd: await versionOf('sshd', '-V', /OpenSSH_([\w.]+)/),
    rclone: uses('rclone') ? await versionOf('rclone', 'version', /rclone v?([\d.]+)/) : null,
    uses: { rsyncMirrors: uses('rsync'), rcloneMirrors: uses('rclone'), uploads },
  };
}

/** The options that the help of rrsync lists, each at the beginning of a line. */
export function optionsIn(help: string): string[] {
  return [...help.matchAll(/^ {2}(-[a-z-]+)/gm)]
    .map(([, option = '']) => option)
    .filter((option) => option !== '-help');
}

/** Of the daemon that holds the state; null: none runs, or its number cannot be seen. */
export async function daemonPid(machine: Machine, state: string): Promise<number | null> {
  const facts = await stat(join(state, '.lock'), { bigint: true }).catch(() => null);
  if (facts === null) return null;
  const pid = lockHolder((await machine.text('/proc/locks')) ?? '', facts.dev, facts.ino, 'POSIX');
  return pid !== null && pid > 0 ? pid : null;
}

export interface LimitQuestion {
  readonly config: Config;
  /** Indexes that are published. */
  readonly repositories: number;
  readonly pid: number | null;
  /** The unit with its drop-ins; null: none. */
  readonly unit: string | null;
}

export async function gatherLimits(machine: Machine, question: LimitQuestion): Promise<LimitFacts> {
  const { config, repositories, pid, unit } = question;
  const number = async (name: string): Promise<number | null> => {
    const text = await machine.text(`/proc/sys/fs/inotify/${name}`);
    return text === null ? null : Number(text);
  };
  return {
    maxWatches: await number('max_user_watches'),
    maxInstances: await number('max_user_instances'),
    openFiles: await openFiles(machine, pid, unit),
    published: { repositories },
    inboxes: config.inboxes.length,
    mirrors: config.mirrors.length,
  };
}

async function openFiles(machine: Machine, pid: number | null, unit: string | null): Promise<LimitFacts['openFiles']> {
  const ofProcess = async (process: number | 'self'): Promise<number | null> => {
    const [, hard] =
      /^Max open files\s+\S+\s+(\d+|unlimited)/m.exec((await machine.text(`/proc/${process}/limits`)) ?? '') ?? [];
    return hard === undefined ? null : hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  };
  const running = pid === null ? null : await ofProcess(pid);
  if (running !== null) return { limit: running, of: 'the daemon' };
  const written = [...(unit ?? '').matchAll(/^LimitNOFILE=(?:\d+:)?(\d+)\s*$/gm)].at(-1)?.[1];
  if (written !== undefined) return { limit: Number(written), of: 'the unit' };
  const own = await ofProcess('self');
  return own === null ? null : { limit: own, of: 'this process' };
}

/** Asks who keeps the clock: systemd, chrony, else the file that timesyncd leaves. */
export async function gatherClock(machine: Machine): Promise<ClockFacts> {
  const timedatectl = machine.program('timedatectl');
  const said =
    timedatectl === null ? null : await machine.run([timedatectl, 'show', '-p', 'NTPSynchronized', '--value']);
  if (said !== null && /^(?:yes|no)\s*$/.test(said))
    return { synchronized: { by: 'timedatectl', value: said.startsWith('yes') } };
  const chronyc = machine.program('chronyc');
  const tracking = chronyc === null ? null : await machine.run([chronyc, '-n', 'tracking']);
  const leap = /^Leap status\s*:\s*(.+)$/m.exec(tracking ?? '')?.[1];
  if (leap !== undefined) return { synchronized: { by: 'chronyc', value: leap.trim() !== 'Not synchronised' } };
  const timesync = await machine.path('/run/systemd/timesync/synchronized');
  return { synchronized: timesync.kind === 'file' ? { by: 'systemd-timesyncd', value: true } : null };
}

/** The directories below root between which files are linked and renamed. */
export const ownDirectories = ['ingest', 'quarantine', 'trees'];

export async function gatherDisks(machine: Machine, { root, state, reserveBytes }: Config): Promise<DisksFacts> {
  const device = async (path: string): Promise<number | null> => {
    const facts = await machine.path(path);
    return 'dev' in facts ? facts.dev : null;
  };
  const parts: { path: string; device: number }[] = [];
  for (const name of ownDirectories) {
    const path = join(root, name);
    const found = await device(path);
    if (found !== null) parts.push({ path, device: found });
  }
  return {
    root: await machine.disk(root),
    // The first start makes it; until then its parent tells.
    state: await machine.disk((await machine.path(state)).kind === 'absent' ? join(state, '..') : state),
    reserveBytes,
    rootDevice: await device(root),
    parts,
  };
}
