/** Judges what lies about once a fault is over and the work is done. Reads nothing but the disk. */
import { existsSync, readdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { traceFile } from '../../src/store/trace.ts';
import { hashOf } from './session.ts';

const rootNames = /^(?:inbox|public|public\.before-adopt|trees|ingest|quarantine|indexes|\.lock)$/;
const stateNames = /^(?:state\.db|state\.db-wal|state\.db-shm|\.lock)$/;

/** What lies about though the work is done, pruned and closed: temporary files of ours, packages that no index names. */
export function leftovers(directory: string, upload: number, uploads: string): string[] {
  const root = join(directory, 'srv');
  const found: string[] = [];
  for (const name of readdirSync(root)) if (!rootNames.test(name)) found.push(name);
  for (const name of readdirSync(join(directory, 'state'))) if (!stateNames.test(name)) found.push(`state/${name}`);
  for (const part of ['trees', 'ingest', 'quarantine', 'indexes']) {
    for (const path of filesBelow(join(root, part)))
      if (!belongs(part, path, upload, uploads, root)) found.push(relative(root, path));
  }
  return found;
}

function belongs(part: string, path: string, upload: number, uploads: string, root: string): boolean {
  const name = basename(path);
  switch (part) {
    case 'indexes':
      return hashOf(path) === name;
    case 'quarantine':
      return path.includes('-scrub/');
    case 'trees': {
      const [, , ...below] = relative(root, path).split('/');
      if (!name.endsWith('.apk')) return name === 'APKINDEX.tar.gz' || (below.length === 1 && name === traceFile);
      // A tree that is not served may have the bytes that the name had before.
      return existsSync(join(uploads, String(upload), ...below));
    }
    default:
      return false;
  }
}

function filesBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}
