/** A lockstepd that another one feeds: the same daemon with an inbox `fed_by: upstream`, trusting the builder's key. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Primary, type PrimaryOptions } from './primary.ts';

const repositories = ['main/{arch}'];

/** Its inbox is `<leaf>.inbox`; `builder` is whose key it trusts. Not started yet. */
export async function createLeaf(builder: Primary, options: PrimaryOptions = {}): Promise<Primary> {
  const leaf = await Primary.create({});
  await writeFile(join(leaf.directory, 'keys', builder.key.name), builder.key.publicPem);
  await configureLeaf(leaf, options);
  return leaf;
}

export async function configureLeaf(leaf: Primary, options: PrimaryOptions): Promise<void> {
  const inbox = `    fed_by: upstream\n${options.inbox ?? '    settle: 1s'}`;
  await leaf.configure({ repositories, ...options, inbox });
}

/** YAML of a mirror entry that pushes into the inbox of `leaf` as a directory. */
export function feeding(leaf: Primary, more = ''): string {
  return `  - name: leaf\n    transport: { type: directory, path: ${leaf.inbox} }\n${more}`;
}

/** A directory that daemons of the test have to themselves. */
export async function makeIn(directory: string, name: string): Promise<string> {
  const path = join(directory, name);
  await mkdir(path, { recursive: true });
  return path;
}
