/** Finds the repositories of an inbox: walks the path templates level by level and looks for an index in each match. */
import { type IndexFileName, indexFileNames } from '../apk/entry.ts';
import { isComponentName, matchTemplate, type Template } from '../config/template.ts';
import { messageOf } from '../errors.ts';
import type { Reason } from '../store/batches.ts';
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

/** A directory that matches a template. */
export interface Place {
  readonly repository: string;
  readonly components: readonly string[];
  /** What `{arch}` stands for, null where the template has none. */
  readonly arch: string | null;
}

/** Where repositories may lie. */
export interface Walk {
  readonly places: readonly Place[];
  readonly problems: readonly SurveyProblem[];
  readonly watchable: readonly string[];
}

/** What was read of a directory above repositories. */
export interface Listing {
  /** Subdirectories; null stands for entries that were too many to be read. */
  readonly names: readonly (string | null)[];
  /** Too many entries to be watched. */
  readonly crowded: boolean;
}

/** Remembers listings by path, relative to the inbox, for as long as they hold. */
export interface Listings {
  get(path: string): Listing | null;
  set(path: string, listing: Listing): void;
}

/** Reads the directories above repositories; `maxRepositories` for each template. */
export async function walkTemplates(
  inbox: Inbox,
  templates: readonly Template[],
  maxRepositories: number,
  listings: Listings,
): Promise<Walk> {
  const finds: Finds = {
    inbox,
    maxRepositories,
    problems: new Map(),
    watchable: new Set(),
    listings,
    badNames: 0,
  };
  const places = new Map<string, Place>();
  for (const template of templates) {
    for (const components of await expand(template, finds)) {
      const repository = components.join('/');
      const match = matchTemplate(template, repository);
      if (match) places.set(repository, { repository, components, arch: match.arch });
    }
  }
  return {
    places: [...places.values()],
    problems: [...finds.problems.values()],
    watchable: [...finds.watchable],
  };
}

/** What lies in one repository. */
export interface Look {
  readonly indexes: readonly FoundIndex[];
  readonly absent: readonly string[];
  readonly watchable: readonly string[];
  readonly problem: SurveyProblem | null;
}

/** Looks for the indexes of a repository; opens none of them. */
export async function lookAt(inbox: Inbox, { repository, components, arch }: Place): Promise<Look> {
  const indexes: FoundIndex[] = [];
  const absent: string[] = [];
  try {
    await using directory = await inbox.directory(components);
    if (!directory) return { indexes, absent, watchable: [], problem: null };
    for (const fileName of indexFileNames) {
      const path = `${repository}/${fileName}`;
      const seen = await directory.see(fileName);
      // Clients of this one look beside the index; those of the others below the directory of the architecture.
      const inPlace = fileName === 'packages.adb' ? null : (components.at(-1) ?? '');
      if (seen.kind === 'absent') absent.push(path);
      else indexes.push({ repository, path, arch: arch ?? inPlace, fileName, seen });
    }
    // For a file that is not there yet its directory is watched, and with it every package that comes.
    const watched = indexes.length > 0 || (await directory.hasMoreThan(crowdedEntries)) ? [] : absent;
    return { indexes, absent, watchable: [...indexes.map((index) => index.path), ...watched], problem: null };
  } catch (error) {
    return { indexes, absent, watchable: [], problem: unreadable(repository, error) };
  }
}

function unreadable(path: string, error: unknown): SurveyProblem {
  return { code: 'INCOMPLETE', path: path || '.', detail: `cannot be looked at: ${messageOf(error)}`, held: true };
}

interface Finds {
  readonly inbox: Inbox;
  readonly maxRepositories: number;
  /** By path. */
  readonly problems: Map<string, SurveyProblem>;
  readonly watchable: Set<string>;
  readonly listings: Listings;
  badNames: number;
}

async function expand(template: Template, finds: Finds): Promise<string[][]> {
  let level: string[][] = [[]];
  for (const component of template.components) {
    const next: string[][] = [];
    for (const path of level) {
      if (next.length > finds.maxRepositories) break;
      await orProblem(finds, path.join('/'), async () => {
        const listing = finds.listings.get(path.join('/')) ?? (await list(path, finds));
        if (listing === null) return;
        if (!listing.crowded) finds.watchable.add(path.join('/'));
        if (component.kind === 'literal') next.push([...path, component.value]);
        else takeMatches(listing, path, next, finds);
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

/** Null for a directory that is not there. */
async function list(path: readonly string[], { inbox, listings }: Finds): Promise<Listing | null> {
  await using directory = await inbox.directory(path);
  if (!directory) return null;
  const names: (string | null)[] = [];
  for await (const name of directory.subdirectories(maximumEntries)) names.push(name);
  const listing = { names, crowded: await directory.hasMoreThan(crowdedEntries) };
  listings.set(path.join('/'), listing);
  return listing;
}

function takeMatches({ names }: Listing, path: readonly string[], next: string[][], finds: Finds): void {
  for (const name of names) {
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
    note(finds, unreadable(path, error));
  }
}

function note(finds: Finds, problem: SurveyProblem): void {
  finds.problems.set(problem.path, problem);
}
