/** The rsync and the rrsync that play a mirror's, and what they know: `npm run rsync:versions` puts those of other releases there. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { findProgram, mirrorPath } from './sshd.ts';

export const mirrorRsync = findProgram('rsync', mirrorPath) ?? 'rsync';
export const mirrorRrsync = findProgram('rrsync', mirrorPath);

/** The version of that rsync, as major × 100 + minor: 305 for 3.5; 0 where there is none. */
export function mirrorRsyncVersion(): number {
  const { stdout } = spawnSync(mirrorRsync, ['--version'], { encoding: 'utf8' });
  const [, major = '0', minor = '0'] = /^rsync +version v?(\d+)\.(\d+)/.exec(stdout) ?? [];
  return Number(major) * 100 + Number(minor);
}

/** True if that rsync has the option: `--fsync` came with 3.2.4. */
export function rsyncKnows(option: string): boolean {
  return spawnSync(mirrorRsync, ['--help'], { encoding: 'utf8' }).stdout.includes(`${option} `);
}

/** True if that rrsync, a script, has the option: that of 3.2.3 knows `-ro` and `-wo` alone, -no-overwrite came after 3.2.7. */
export function rrsyncKnows(option: string): boolean {
  return mirrorRrsync !== undefined && readFileSync(mirrorRrsync, 'utf8').includes(`'${option}'`);
}
