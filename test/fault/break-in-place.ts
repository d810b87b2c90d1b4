/** Loaded before the driver: the link is taken away before the new one is put in its place, as a careless publisher would. */
import { rmSync } from 'node:fs';
import { diskFiles } from '../../src/system/files.ts';

const disk = { ...diskFiles };
Object.assign(diskFiles, {
  symlink: async (target: string, path: string): Promise<void> => {
    rmSync(`${path.slice(0, path.lastIndexOf('/ingest/'))}/public`, { force: true });
    await disk.symlink(target, path);
  },
});
