/** Decides from the signed `DESCRIPTION` of two indexes which one is older, as far as its text can be dated or placed. */
import { compareVersions, isVersion } from './version.ts';

/** A date in the text, such as `main 2026-11-22T18:00:00Z` or `2026-11-22 18:00`; without a zone it is UTC. */
const dateForm = /\b(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?)?(?![\d:-])/;
/** What `git describe` says of the recipes, which is what Alpine's builders write: `v3.17.3-216-g54a39ace82a`, or a bare tag. */
const placeForm = /^v?(\d[^-\s]*(?:_rc\d+)?)(?:-(\d+)-g[0-9a-f]{4,64})?$/;

/** Below 0 when the index described by `a` is older than that of `b`, above when newer; null when that cannot be told. */
export function compareDescriptions(a: string | null, b: string | null): number | null {
  if (a === null || b === null) return null;
  const dates = [dateOf(a), dateOf(b)] as const;
  if (dates[0] !== null && dates[1] !== null) return dates[0] - dates[1];
  const places = [placeOf(a), placeOf(b)] as const;
  if (places[0] === null || places[1] === null) return null;
  const tags = compareVersions(places[0].tag, places[1].tag);
  return tags === 0 ? places[0].commits - places[1].commits : tags;
}

/** The date in a description, in unix seconds; null when there is none. */
function dateOf(description: string): number | null {
  const [, day, time = '00:00', zone = 'Z'] = dateForm.exec(description) ?? [];
  const ms = day === undefined ? Number.NaN : Date.parse(`${day}T${time}${zone}`);
  return Number.isNaN(ms) ? null : ms / 1000;
}

function placeOf(description: string): { readonly tag: string; readonly commits: number } | null {
  const [, tag, commits = '0'] = placeForm.exec(description.trim()) ?? [];
  return tag === undefined || !isVersion(tag) ? null : { tag, commits: Number(commits) };
}
