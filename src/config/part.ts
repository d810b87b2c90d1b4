/** Which repositories a mirror takes: those that `include` matches (all when it is empty) and `exclude` does not. */
import { matchesAny, type Template } from './template.ts';

export interface Part {
  readonly include: readonly Template[];
  readonly exclude: readonly Template[];
}

export function isInPart({ include, exclude }: Part, repository: string): boolean {
  return (include.length === 0 || matchesAny(include, repository)) && !matchesAny(exclude, repository);
}

/** True for a mirror that takes everything. */
export function isWhole({ include, exclude }: Part): boolean {
  return include.length === 0 && exclude.length === 0;
}

/** The part as one line, empty for everything: when it changes, what the mirror holds has to be compared. */
export function partText(part: Part): string {
  if (isWhole(part)) return '';
  const words = (templates: readonly Template[]): string[] => templates.map(({ text }) => text).sort();
  return JSON.stringify([words(part.include), words(part.exclude)]);
}
