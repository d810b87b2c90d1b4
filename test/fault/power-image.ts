/** File systems in files on loop devices, and copies of them as they are at one instant: what a power cut leaves. Needs root. */
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';

/** With what a cut does most harm: nothing is written before its time, and nothing is guessed by the file system. */
const kinds = {
  ext4: {
    make: ['mkfs.ext4', '-q', '-F'],
    options: 'noauto_da_alloc,data=writeback,commit=1',
    bytes: 64 * 2 ** 20,
  },
  // The smallest that mkfs.xfs makes. A copy has the UUID of its model.
  xfs: { make: ['mkfs.xfs', '-q', '-f'], options: 'nouuid', bytes: 300 * 2 ** 20 },
};

export type Kind = keyof typeof kinds;

/** Makes an empty file system in the sparse file `path`. */
export function makeImage(path: string, kind: Kind, bytes = kinds[kind].bytes): void {
  writeFileSync(path, '');
  truncateSync(path, bytes);
  const [program = '', ...args] = kinds[kind].make;
  run(program, ...args, path);
}

/** Mounts it until disposed. Throws what mount(8) says of one that cannot be. */
export function mounted(image: string, kind: Kind, at: string): Disposable {
  run('mount', '-o', `loop,${kinds[kind].options}`, image, at);
  return { [Symbol.dispose]: () => unmount(at) };
}

/** The loop device of what was mounted in it, and a process that was killed, let it go a little later. */
function unmount(at: string): void {
  for (let left = 300; ; left--) {
    try {
      run('umount', at);
      return;
    } catch (error) {
      if (left === 0) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
}

/** Copies what has reached the block device, at one instant: both lie on a file system with reflinks. */
export function snapshot(image: string, copy: string): void {
  run('cp', '--reflink=always', image, copy);
}

/** Throws with what the program wrote to stderr. */
export function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
