/** Whether the daemon gets to its paths, and whether others can put something else in their place: what lies above them. Pure. */
import { dirname } from 'node:path/posix';
import { access, type Account, modeText, type PathFacts, permits } from './accounts.ts';
import { fail, type Finding } from './finding.ts';

/** Every directory above these absolute paths, once, from the top. */
export function parentsOf(paths: readonly string[]): string[] {
  const found = new Set<string>();
  const add = (path: string): void => {
    const parent = dirname(path);
    if (parent !== path) add(parent);
    found.add(parent);
  };
  for (const path of paths) add(path);
  return [...found];
}

/** One finding for each that is in the way; none where all is well. */
export function judgeParents(parents: readonly PathFacts[], daemon: Account): Finding[] {
  return parents.flatMap((directory): Finding[] => {
    if (directory.kind !== 'directory') return [];
    const [what, mode] = [`directory ${directory.path}`, modeText(directory.mode)];
    if (!permits(daemon, directory, access.search))
      return [fail(what, `mode ${mode} keeps ${daemon.name} from everything below it`, `chmod a+x ${directory.path}`)];
    // The sticky bit keeps everybody from what is not theirs.
    const replaceable = (directory.mode & 0o1002) === 0o002;
    return replaceable
      ? [fail(what, `mode ${mode} lets everybody replace what is in it`, `chmod o-w ${directory.path}`)]
      : [];
  });
}
