/** Whether the file systems under root and state can do what is asked of them, and have room. Pure. */
import { fail, type Finding, ok, unseen, warn } from './finding.ts';

export interface DiskFacts {
  readonly path: string;
  /** Null: cannot be looked at. */
  readonly space: {
    /** f_type of statfs(2). */
    readonly type: number;
    readonly freeBytes: number;
    readonly totalBytes: number;
    readonly freeFiles: number;
    /** 0 where files are not counted. */
    readonly totalFiles: number;
  } | null;
}

export interface DisksFacts {
  readonly root: DiskFacts;
  readonly state: DiskFacts;
  readonly reserveBytes: number;
  /** Device of root, and of what lies below it and is there. */
  readonly rootDevice: number | null;
  readonly parts: readonly { readonly path: string; readonly device: number }[];
}

interface Kind {
  readonly name: string;
  readonly hardLinks: boolean;
  readonly reflinks: boolean;
  /** `network`: also a file system in user space: locks, renames and events are somebody else's promise. */
  readonly keeps: 'durable' | 'network' | 'memory';
}

const plain = (name: string, reflinks = false): Kind => ({ name, hardLinks: true, reflinks, keeps: 'durable' });
const network = (name: string): Kind => ({ name, hardLinks: true, reflinks: false, keeps: 'network' });
const fat = (name: string): Kind => ({ name, hardLinks: false, reflinks: false, keeps: 'durable' });
const memory = (name: string): Kind => ({ name, hardLinks: true, reflinks: false, keeps: 'memory' });

/** By f_type: statfs(2) and linux/magic.h. */
const kinds: ReadonlyMap<number, Kind> = new Map([
  [0xef53, plain('ext4')],
  [0x58465342, plain('xfs', true)],
  [0x9123683e, plain('btrfs', true)],
  [0xca451a4e, plain('bcachefs', true)],
  [0x2fc12fc1, plain('zfs', true)],
  [0xf2f52010, plain('f2fs')],
  [0x794c7630, plain('overlay')],
  [0x6969, network('nfs')],
  [0xff534d42, network('cifs')],
  [0xfe534d42, network('smb2')],
  [0x65735546, network('fuse')],
  [0x01021997, network('9p')],
  [0x00c36400, network('ceph')],
  [0x4d44, fat('vfat')],
  [0x2011bab0, fat('exfat')],
  [0x01021994, memory('tmpfs')],
  [0x858458f6, memory('ramfs')],
]);

/** Below this part of a file system it is time to look. */
const lowPart = 0.05;

export function judgeDisks(facts: DisksFacts): Finding[] {
  const { root, state, reserveBytes } = facts;
  return [
    judgeKind('root', root, 'root'),
    judgeKind('state', state, 'state'),
    judgeSpace('space of root', root, reserveBytes),
    judgeSpace('space of state', state, 0),
    judgeDevices(facts),
  ];
}

function judgeKind(what: string, { path, space }: DiskFacts, role: 'root' | 'state'): Finding {
  if (space === null) return unseen(`${what} ${path}`);
  const kind = kinds.get(space.type);
  const where = `${what} ${path}`;
  if (kind === undefined)
    return warn(
      where,
      `its file system (type 0x${space.type.toString(16)}) is none that lockstepd was tried on`,
      'ext4, xfs or btrfs keep every promise',
    );
  if (kind.keeps === 'memory')
    return fail(where, `${kind.name} forgets everything at a restart`, 'put it on a disk: ext4, xfs or btrfs');
  if (kind.keeps === 'network' && role === 'state')
    return fail(where, `${kind.name} cannot hold the database (its locks and shared memory)`, 'put it on a local disk');
  if (kind.keeps === 'network')
    return warn(
      where,
      `${kind.name}: events of other hosts, the lock of rrsync and a power cut are not what they are on a disk`,
      'put root on a local disk',
    );
  if (role === 'root' && !kind.hardLinks)
    return fail(where, `${kind.name} has no hard links, which trees are made of`, 'use ext4, xfs or btrfs');
  if (role === 'state') return ok(where, kind.name);
  return ok(
    where,
    `${kind.name}: hard links, ${kind.reflinks ? 'copies can share blocks' : 'no reflinks (not needed)'}`,
  );
}

function judgeSpace(what: string, { path, space }: DiskFacts, reserveBytes: number): Finding {
  if (space === null) return unseen(`${what} ${path}`);
  const { freeBytes, totalBytes, freeFiles, totalFiles } = space;
  const left = `${sizeText(freeBytes)} of ${sizeText(totalBytes)} free`;
  const remedy = 'make room: lockstepd prune --dry-run says what would go, else enlarge the disk';
  if (freeBytes <= reserveBytes || freeBytes === 0)
    return fail(what, `${left}, and ${sizeText(reserveBytes)} are reserved: nothing can be published`, remedy);
  if (totalFiles > 0 && freeFiles === 0) return fail(what, 'no inode is free', remedy);
  if (totalFiles > 0 && freeFiles < totalFiles * lowPart)
    return warn(what, `${freeFiles} of ${totalFiles} inodes are free`, remedy);
  if (freeBytes < reserveBytes * 2 || freeBytes < totalBytes * lowPart)
    return warn(what, reserveBytes === 0 ? left : `${left}, ${sizeText(reserveBytes)} of it reserved`, remedy);
  return ok(what, reserveBytes === 0 ? left : `${left}, ${sizeText(reserveBytes)} of it reserved`);
}

function judgeDevices({ root, rootDevice, parts }: DisksFacts): Finding {
  const what = 'one file system';
  if (rootDevice === null) return unseen(`${what} ${root.path}`);
  const other = parts.filter(({ device }) => device !== rootDevice).map(({ path }) => path);
  if (other.length === 0) return ok(what, 'root and everything below it');
  return fail(
    what,
    `${other.join(', ')} on another one than ${root.path}`,
    'files are renamed and hard-linked between them: mount one file system at root',
  );
}

/** `1.5 GiB` */
export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 2 ** (10 * power);
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}
