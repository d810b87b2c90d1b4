/** Rebuilds the real repository of 2017 as a tree: its symlinks are stored as small files that hold their target. */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';

export const pmos2017 = resolve(import.meta.dirname, '../../../shared/data/pmos2017');
export const pmos2017Arches = ['aarch64', 'armhf', 'x86_64'] as const;
/** The one key that signs everything in it; it lies beside the repositories. */
export const pmos2017Key = 'pmos-59ff5cfb.rsa.pub';

export function hasPmos2017(): boolean {
  return existsSync(pmos2017);
}

/**
 * Makes `<dir>/{aarch64,armhf,x86_64}/` with real files and the 146 real symlinks (4 of them dangle) and `<dir>/keys/` with the
 * public key.
 */
export async function materialisePmos2017(dir: string): Promise<void> {
  await mkdir(join(dir, 'keys'), { recursive: true });
  await copyFile(join(pmos2017, pmos2017Key), join(dir, 'keys', pmos2017Key));
  for (const arch of pmos2017Arches) {
    await mkdir(join(dir, arch), { recursive: true });
    for (const name of await readdir(join(pmos2017, arch))) {
      const [from, to] = [join(pmos2017, arch, name), join(dir, arch, name)];
      const target = (await stat(from)).size < 200 ? await readFile(from, 'latin1') : '';
      if (target.startsWith('../')) await symlink(target, to);
      else await copyFile(from, to);
    }
  }
}
