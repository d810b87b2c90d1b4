/** Finds the repositories of an inbox: walks the path templates level by level and looks for an index in each match. */
import { indexFileNames } from '../apk/entry.ts';
import type { Template } from '../config/template.ts';
import { matchTemplate } from '../config/template.ts';
import { escapeText } from '../system/log.ts';
import type { Inbox, Opened } from './walk.ts';

export interface FoundIndex {
  /** Path of the repository below the inbox and below the public tree. */
  readonly repository: string;
  /** What the template's `{arch}` stands for here, or the last component. */
  readonly arch: string;
  readonly fileName: string;
  readonly opened: Exclude<Opened, { readonly kind: 'absent' }>;
}

export interface Survey {
  readonly indexes: readonly FoundIndex[];
  /** Directories at the place of a `*` or `{arch}` whose names no repository may have; escaped for display. */
  readonly badNames: readonly string[];
  /** What announces the next change, relative to the inbox: index files of every match, and directories in which a match may appear. */
  readonly watchable: readonly string[];
}

const maximumDirectories = 10_000;

/** The caller closes the handles. The cost grows with the number of repositories, not of packages. */
export async function findIndexes(inbox: Inbox, templates: readonly Template[]): Promise<Survey> {
  const indexes: FoundIndex[] = [];
  const badNames = new Set<string>();
  const watchable = new Set<string>(['']);
  const seen = new Set<string>();
  for (const template of templates) {
    for (const components of await expand(inbox, template, badNames, watchable)) {
      const repository = components.join('/');
      const match = matchTemplate(template, repository);
      if (seen.has(repository) || !match) continue;
      seen.add(repository);
      await using directory = await inbox.directory(components);
      if (!directory) continue;
      for (const fileName of indexFileNames) {
        watchable.add(`${repository}/${fileName}`);
        const opened = await directory.openFile(fileName);
        if (opened.kind !== 'absent') indexes.push({ repository, arch: match.arch ?? components.at(-1) ?? '', fileName, opened });
      }
    }
  }
  return { indexes, badNames: [...badNames], watchable: [...watchable] };
}

async function expand(inbox: Inbox, template: Template, badNames: Set<string>, watchable: Set<string>): Promise<string[][]> {
  let level: string[][] = [[]];
  for (const component of template.components) {
    const next: string[][] = [];
    for (const path of level) {
      watchable.add(path.join('/'));
      if (component.kind === 'literal') {
        next.push([...path, component.value]);
        continue;
      }
      await using directory = await inbox.directory(path);
      for (const name of (await directory?.subdirectories()) ?? []) {
        if (isComponent(name)) next.push([...path, name]);
        else if (!name.startsWith('.')) badNames.add(escapeText([...path, name].join('/')));
        if (next.length > maximumDirectories) return next;
      }
    }
    level = next;
  }
  return level;
}

/** The rule of path templates: one component, visible, of letters, digits and `. _ + -`. */
function isComponent(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(name);
}
