/** Loaded before the driver, as `break-swallow.ts?rename`, `?link` or `?sync`: what the disk answers to that call is not looked at. */
import { diskFiles, type OpenFile } from '../../src/system/files.ts';

const disk = { ...diskFiles };
const deaf = async (work: Promise<void>): Promise<void> => {
  await work.catch(() => {});
};
const broken = {
  rename: { rename: (from: string, to: string) => deaf(disk.rename(from, to)) },
  link: { link: (from: string, to: string) => deaf(disk.link(from, to)) },
  sync: {
    open: async (...args: Parameters<typeof disk.open>): Promise<OpenFile> => {
      const file = await disk.open(...args);
      const sync = file.sync.bind(file);
      return Object.assign(file, { sync: () => deaf(sync()) });
    },
  },
};
Object.assign(diskFiles, broken[new URL(import.meta.url).search.slice(1) as keyof typeof broken]);
