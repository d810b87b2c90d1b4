/** Breaks the publisher on purpose, in four ways: a harness that does not find each of them is worth nothing. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { FaultHarness } from './harness.ts';
import type { Fault, Point } from './points.ts';

export interface Variant {
  readonly name: string;
  readonly file: string;
  readonly fault: Fault;
  readonly at: (point: Point) => boolean;
}

export const variants: readonly Variant[] = [
  {
    name: 'the link is taken away before the new one is there',
    file: 'break-in-place.ts',
    fault: 'KILL',
    at: ({ call }) => call === 'symlink',
  },
  {
    name: 'a rename that failed is taken for done',
    file: 'break-swallow.ts?rename',
    fault: 'EIO',
    at: ({ call, path }) => call.startsWith('rename') && path.includes('/srv/public"'),
  },
  {
    name: 'a link that failed is taken for done',
    file: 'break-swallow.ts?link',
    fault: 'ENOSPC',
    at: ({ call, path }) => call === 'link' && /"\/srv\/trees\/[^"]*\/new-3/.test(path),
  },
  {
    name: 'a sync that failed is taken for done',
    file: 'break-swallow.ts?sync',
    fault: 'EIO',
    at: ({ call, path }) => call === 'fsync' && path.startsWith('/srv/trees/'),
  },
];

/** What the harness finds wrong with a broken publisher; nothing would be bad. */
export async function findBroken({ file, fault, at }: Variant): Promise<readonly string[]> {
  const url = `${pathToFileURL(import.meta.dirname).href}/${file}`;
  await using harness = await FaultHarness.create(['--import', url]);
  const point = (await harness.points('publish')).find(at);
  if (point === undefined) throw new Error(`${join(import.meta.dirname, file)}: no such call`);
  return (await harness.run('publish', point, fault)).violations;
}
