/** Finds the repositories of an inbox: walks the path templates level by level and looks for an index in each match. */
import { type IndexFileName, indexFileNames } from '../apk/entry.ts';
import { isComponentName, matchTemplate, type Template } from '../config/template.ts';
import { eachLimited } from '../system/limit.ts';
import { escapeText } from '../system/log.ts';
import type { Inbox, Seen } from './walk.ts';

export interface FoundIndex {
  /** Path of the repository below the inbox and below the public tree. */
  readonly repository: string;
  /** Path of the index itself. */
  readonly path: string;
  /** What the template's `{arch}` stands for here, or the last component; null where it is no part of a package's path. */
  readonly arch: string | null;
  readonly fileName: IndexFileName;
  readonly seen: Exclude<Seen, { readonly kind: 'absent' }>;
}

export interface Survey {
  readonly indexes: readonly FoundIndex[];
  /** Directories at the place of a `*` or `{arch}` whose names no repository may have; escaped for display. */
  readonly badNames: readonly string[];
  /** What announces the next change, relative to the inbox: index files of every match, and directories in which a match may appear. */
  readonly watchable: readonly string[];
}

const maximumDirectories = 10_000;
const badNamesShown = 100;
/** As many as the thread pool carries out side by side, and some more to keep it busy. */
const looksAtOnce = 8;

/** Opens no index. The cost grows with the number of repositories, not of packages. */
export async function findIndexes(inbox: Inbox, templates: readonly Template[]): Promise<Survey> {
  const indexes: FoundIndex[] = [];
  const badNames = new Set<string>();
  const watchable = new Set<string>(['']);
  const places = new Map<string, readonly [components: readonly string[], arch: string | null]>();
  for (const template of templates) {
    for (const components of await expand(inbox, template, badNames, watchable)) {
      const repository = components.join('/');
      const match = matchTemplate(template, repository);
      if (match) places.set(repository, [components, match.arch]);
    }
  }
  await eachLimited(places, looksAtOnce, async ([repository, [components, arch]]) => {
    await using directory = await inbox.directory(components);
    if (!directory) return;
    for (const fileName of indexFileNames) {
      const path = `${repository}/${fileName}`;
      watchable.add(path);
      const seen = await directory.see(fileName);
      if (seen.kind === 'absent') continue;
      // Clients of this one look beside the index; those of the others below the directory of the architecture.
      const beside = fileName === 'packages.adb';
      indexes.push({ repository, path, arch: arch ?? (beside ? null : (components.at(-1) ?? '')), fileName, seen });
    }
  });
  indexes.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { indexes, badNames: [...badNames].sort(), watchable: [...watchable] };
}

async function expand(
  inbox: Inbox,
  template: Template,
  badNames: Set<string>,
  watchable: Set<string>,
): Promise<string[][]> {
  let level: string[][] = [[]];
  for (const component of template.components) {
    const next: string[][] = [];
    for (const path of level) {
      await using directory = await inbox.directory(path);
      if (!directory) continue;
      watchable.add(path.join('/'));
      if (component.kind === 'literal') {
        next.push([...path, component.value]);
        continue;
      }
      for await (const name of directory.subdirectories()) {
        if (isComponentName(name)) next.push([...path, name]);
        else if (!name.startsWith('.') && badNames.size < badNamesShown) {
          badNames.add(escapeText([...path, name].join('/')));
        }
        if (next.length > maximumDirectories) return next;
      }
    }
    level = next;
  }
  return level;
}
