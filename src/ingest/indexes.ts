/** Finds the repositories of an inbox: walks the path templates level by level and looks for an index in each match. */
import { type IndexFileName, indexFileNames } from '../apk/entry.ts';
import { isComponentName, matchTemplate, type Template } from '../config/template.ts';
import { messageOf } from '../errors.ts';
import type { Reason } from '../store/batches.ts';
import { eachLimited } from '../system/limit.ts';
import { escapeText } from '../system/log.ts';
import type { Inbox, InboxDirectory, Seen } from './walk.ts';

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
  /** Index files that a repository may have and has not, relative to the inbox. */
  readonly absent: readonly string[];
  /** What keeps a part of the inbox from being looked at; the rest is. Paths are escaped for display. */
  readonly problems: readonly SurveyProblem[];
  /** What announces the next change, relative to the inbox: index files of every match, and directories in which a match may appear. */
  readonly watchable: readonly string[];
}

export interface SurveyProblem extends Reason {
  /** True when it may pass by itself or by the operator's doing. */
  readonly held: boolean;
}

/** Entries of one directory that are read, whatever they are. */
const maximumEntries = 50_000;
/** A directory with more entries is left to the rescan: a watcher remembers each of them. */
const crowdedEntries = 4096;
const badNamesShown = 100;
/** As many as the thread pool carries out side by side, and some more to keep it busy. */
const looksAtOnce = 8;

/** Opens no index. The cost grows with the number of repositories, not of packages; `maxRepositories` for each template. */
export async function findIndexes(
  inbox: Inbox,
  templates: readonly Template[],
  maxRepositories: number,
): Promise<Survey> {
  const indexes: FoundIndex[] = [];
  const absent: string[] = [];
  const finds: Finds = { inbox, maxRepositories, problems: new Map(), watchable: new Set(), badNames: 0 };
  const places = new Map<string, readonly [components: readonly string[], arch: string | null]>();
  for (const template of templates) {
    for (const components of await expand(template, finds)) {
      const repository = components.join('/');
      const match = matchTemplate(template, repository);
      if (match) places.set(repository, [components, match.arch]);
    }
  }
  await eachLimited(places, looksAtOnce, async ([repository, [components, arch]]) => {
    await orProblem(finds, repository, async () => {
      await using directory = await inbox.directory(components);
      if (!directory) return;
      const missing: string[] = [];
      for (const fileName of indexFileNames) {
        const path = `${repository}/${fileName}`;
        const seen = await directory.see(fileName);
        // Clients of this one look beside the index; those of the others below the directory of the architecture.
        const inPlace = fileName === 'packages.adb' ? null : (components.at(-1) ?? '');
        if (seen.kind === 'absent') missing.push(path);
        else {
          indexes.push({ repository, path, arch: arch ?? inPlace, fileName, seen });
          finds.watchable.add(path);
        }
      }
      absent.push(...missing);
      // For a file that is not there yet its directory is watched, and with it every package that comes.
      if (missing.length < indexFileNames.length || (await directory.hasMoreThan(crowdedEntries))) return;
      for (const path of missing) finds.watchable.add(path);
    });
  });
  indexes.sort((a, b) => (a.path < b.path ? -1 : 1));
  const problems = [...finds.problems.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  return { indexes, absent: absent.sort(), problems, watchable: [...finds.watchable] };
}

interface Finds {
  readonly inbox: Inbox;
  readonly maxRepositories: number;
  /** By path. */
  readonly problems: Map<string, SurveyProblem>;
  readonly watchable: Set<string>;
  badNames: number;
}

async function expand(template: Template, finds: Finds): Promise<string[][]> {
  let level: string[][] = [[]];
  for (const component of template.components) {
    const next: string[][] = [];
    for (const path of level) {
      if (next.length > finds.maxRepositories) break;
      await orProblem(finds, path.join('/'), async () => {
        await using directory = await finds.inbox.directory(path);
        if (!directory) return;
        if (!(await directory.hasMoreThan(crowdedEntries))) finds.watchable.add(path.join('/'));
        if (component.kind === 'literal') next.push([...path, component.value]);
        else await listMatches(directory, path, next, finds);
      });
    }
    if (next.length > finds.maxRepositories) {
      const detail = `more than ${finds.maxRepositories} directories match, the others are not looked at (quotas.max_repositories): raise it, or remove what is no repository`;
      note(finds, { code: 'QUOTA', path: template.text, detail, held: true });
    }
    level = next.slice(0, finds.maxRepositories);
  }
  return level;
}

async function listMatches(
  directory: InboxDirectory,
  path: readonly string[],
  next: string[][],
  finds: Finds,
): Promise<void> {
  for await (const name of directory.subdirectories(maximumEntries)) {
    if (next.length > finds.maxRepositories) return;
    if (name === null) {
      const detail = `more than ${maximumEntries} entries in this directory, the others are not looked at: remove what is no repository`;
      note(finds, { code: 'QUOTA', path: path.join('/') || '.', detail, held: true });
    } else if (isComponentName(name)) next.push([...path, name]);
    else if (!name.startsWith('.') && finds.badNames++ < badNamesShown) {
      const detail = 'a directory name that no repository may have';
      note(finds, { code: 'NAME', path: escapeText([...path, name].join('/')), detail, held: false });
    }
  }
}

/** What goes wrong with one directory must not keep the others from being looked at. */
async function orProblem(finds: Finds, path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    note(finds, {
      code: 'INCOMPLETE',
      path: path || '.',
      detail: `cannot be looked at: ${messageOf(error)}`,
      held: true,
    });
  }
}

function note(finds: Finds, problem: SurveyProblem): void {
  finds.problems.set(problem.path, problem);
}
