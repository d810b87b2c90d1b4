/** What a look at the machine has found: one line each, with what to do about it, as text and as JSON. Pure. */

export interface Finding {
  readonly level: 'ok' | 'warn' | 'fail';
  /** What was looked at. */
  readonly what: string;
  readonly found: string;
  /** What to do; null for what is well. */
  readonly remedy: string | null;
}

export interface FindingGroup {
  readonly title: string;
  readonly findings: readonly Finding[];
}

export function ok(what: string, found: string): Finding {
  return { level: 'ok', what, found, remedy: null };
}

export function warn(what: string, found: string, remedy: string): Finding {
  return { level: 'warn', what, found, remedy };
}

export function fail(what: string, found: string, remedy: string): Finding {
  return { level: 'fail', what, found, remedy };
}

/** What only another user may look at. */
export function unseen(what: string): Finding {
  return warn(what, 'this user may not look at it', 'run lockstepd doctor as root');
}

/** `level  what: found: remedy` */
export function findingLine({ level, what, found, remedy }: Finding): string {
  return `${level.padEnd(4)}  ${what}: ${found}${remedy === null ? '' : `: ${remedy}`}`;
}

export function hasFailed(groups: readonly FindingGroup[]): boolean {
  return groups.some(({ findings }) => findings.some(({ level }) => level === 'fail'));
}

/** How many of each level, as one line. */
export function summaryLine(groups: readonly FindingGroup[]): string {
  const all = groups.flatMap(({ findings }) => findings);
  const count = (level: Finding['level']): number => all.filter((finding) => finding.level === level).length;
  return `${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed`;
}

/** One JSON document: each finding with the title of its group. */
export function findingsJson(groups: readonly FindingGroup[]): string {
  const findings = groups.flatMap(({ title, findings: all }) => all.map((finding) => ({ group: title, ...finding })));
  return JSON.stringify({ version: 1, ok: !hasFailed(groups), findings }, null, 1);
}
