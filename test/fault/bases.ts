/** Makes what the scenes begin with: a root with nothing, with two or three uploads published, damaged, without its state, to be adopted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, readlink, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Point } from './points.ts';
import { type BaseName, damagedFile } from './scenes.ts';
import { makeFixture, Session, upload } from './session.ts';

/** Directory of each. */
export type Bases = Map<BaseName, string>;

/** The call of a publish at which it is killed, by the first one that `at` finds and how many later. */
export const cuts: Partial<Record<BaseName, { readonly at: (point: Point) => boolean; readonly after: number }>> = {
  'cut-copy': { at: ({ call, path }) => call.startsWith('link') && path.includes('/trees/'), after: 1 },
  'cut-switch': { at: ({ call }) => call === 'symlink', after: 0 },
  'cut-commit': { at: ({ call, path }) => call.startsWith('rename') && path.includes('/srv/public"'), after: 1 },
};

/** Makes all of them below `directory`, and the uploads themselves in `uploads`. */
export async function makeBases(directory: string): Promise<Bases> {
  await mkdir(directory, { recursive: true });
  const at = (name: string): string => join(directory, name);
  const uploads = at('uploads');
  await makeFixture(at('empty'), 3);
  await rename(join(at('empty'), 'uploads'), uploads);
  await copy(at('empty'), at('two'));
  await publish(at('two'), uploads, [1, 2]);
  await copy(at('two'), at('three'));
  await publish(at('three'), uploads, [3]);
  await upload(at('two'), 3, uploads);
  await upload(at('empty'), 1, uploads);
  await copy(at('three'), at('lost'));
  for (const name of readdirSync(join(at('lost'), 'state'))) await rm(join(at('lost'), 'state', name));
  await copy(at('three'), at('damaged'));
  damage(join(at('damaged'), 'srv', await readlink(join(at('damaged'), 'srv/public'))));
  await makePlain(at('three'), at('plain'));
  return new Map((['empty', 'two', 'three', 'lost', 'damaged', 'plain'] as const).map((name) => [name, at(name)]));
}

/** One generation for each upload: it lies there whole before anybody looks. */
async function publish(directory: string, uploads: string, numbers: readonly number[]): Promise<void> {
  for (const number of numbers) {
    await upload(directory, number, uploads);
    const session = await Session.open(directory);
    if (!(await session.untilServed(directory, number, uploads))) throw new Error(session.complaints.join('\n'));
    await session.untilSpare();
    const { generation } = session;
    await session.close();
    if (generation !== number) throw new Error(`generation ${generation}, expected ${number}`);
  }
}

/** Other bytes under the same name: in every tree, they are one file. */
function damage(tree: string): void {
  const path = join(tree, damagedFile.repository, damagedFile.file);
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

/** The directory of someone who has never heard of us. */
async function makePlain(from: string, to: string): Promise<void> {
  await copy(from, to);
  const root = join(to, 'srv');
  const tree = await readlink(join(root, 'public'));
  await rm(join(root, 'public'));
  await copy(join(root, tree), join(root, 'public'));
  for (const name of ['trees', 'ingest', 'indexes', 'quarantine']) await rm(join(root, name), { recursive: true });
  for (const name of readdirSync(join(to, 'state'))) await rm(join(to, 'state', name));
}

async function copy(from: string, to: string): Promise<void> {
  const copying = spawn('cp', ['-a', from, to]);
  await once(copying, 'close');
  if (copying.exitCode !== 0) throw new Error(`cp ${from}: exit code ${copying.exitCode}`);
}
