/** Decides what about a verified index, or about a repository that vanished, needs a person or is refused. Pure: facts in, findings out. */
import type { PackageChange } from '../apk/changes.ts';
import { compareDescriptions } from '../apk/description.ts';
import type { GuardName, GuardSettings } from '../config/guards-schema.ts';
import type { InboxConfig } from '../config/schema.ts';
import { matchesAny } from '../config/template.ts';
import type { VerificationCode } from '../errors.ts';
import type { Reason } from '../store/batches.ts';
import type { Changes } from '../store/changes.ts';
import type { Decision } from '../store/decisions.ts';
import type { IndexAge } from '../store/generations.ts';

/** What an operator may approve: everything is proven, and only whether it is meant is not. */
export const guardCodes = [
  'REPLAY',
  'INDEX_EMPTY',
  'MASS_REMOVAL',
  'DOWNGRADE',
  'REBUILT',
  'REPOSITORY_VANISHED',
  'APPROVAL',
] as const satisfies readonly VerificationCode[];

export interface GuardFacts {
  readonly repository: string;
  readonly index: {
    readonly sha256: string;
    readonly packages: number;
    readonly description: string | null;
    readonly newestBuildTime: number | null;
  };
  /** The index that is served, or was served last. */
  readonly known: IndexAge | null;
  /** The generations during which this index was served; `last` null: it still is. */
  readonly served: { readonly first: number; readonly last: number | null } | null;
  /** True when it was published before the records were lost: where, and whether it was replaced, nobody knows. */
  readonly publishedBefore?: boolean;
  /** Another repository that serves this index, or has served it. */
  readonly elsewhere: string | null;
  /** The rollback that took this index away; absent when that is not how it left. */
  readonly rolledBack?: RolledBack | null;
  /** Packages that the repository serves, and how many of them would leave without a successor. */
  readonly live: number;
  readonly removals: number;
  readonly changes: Changes;
}

/** Who went back to which generation. */
interface RolledBack {
  readonly who: string;
  readonly why: string;
  readonly target: number;
}

export interface GuardRules {
  readonly approval: 'if-held' | 'required';
  readonly guards: GuardSettings;
  /** Absent: by a builder. */
  readonly fedBy?: InboxConfig['fedBy'];
}

export interface Finding {
  readonly action: 'hold' | 'reject';
  readonly reason: Reason;
}

/** What the guards find in an index. The one that is served already passed them: nothing is found in it. */
export function guardFindings(facts: GuardFacts, { approval, guards, fedBy }: GuardRules): Finding[] {
  if (facts.known?.current === true && facts.known.sha256 === facts.index.sha256) return [];
  const held = (code: VerificationCode, detail: string): Reason => ({ code, path: facts.repository, detail });
  const found: [GuardName, Reason][] = [];
  const { counts, first } = facts.changes;
  if (facts.index.packages === 0)
    found.push(['empty_index', held('INDEX_EMPTY', `the index names no package; ${packages(facts.live)} would leave`)]);
  else if (facts.removals >= 2) {
    const removes = `removes ${facts.removals} of ${facts.live} packages, more than`;
    if ((facts.removals * 100) / facts.live > guards.maxRemovedPercent)
      found.push(['mass_removal', held('MASS_REMOVAL', `${removes} ${guards.maxRemovedPercent} %`)]);
    else if (facts.removals > guards.maxRemoved)
      found.push(['mass_removal', held('MASS_REMOVAL', `${removes} ${guards.maxRemoved}`)]);
  }
  // Nothing that is signed says for which repository an index was made: whoever may upload could carry it to another one.
  if (facts.elsewhere !== null && facts.index.packages > 0)
    found.push(['copied_index', held('REPLAY', `this index was published as that of ${facts.elsewhere}`)]);
  const age = olderBy(facts);
  if (age !== null) found.push(['older_index', held('DOWNGRADE', age)]);
  if (counts.downgraded > 0)
    found.push(['downgrade', held('DOWNGRADE', `downgrades ${some(counts.downgraded, first.downgraded)}`)]);
  if (counts.rebuilt > 0)
    found.push([
      'rebuilt',
      held('REBUILT', `has other bytes under the same version for ${some(counts.rebuilt, first.rebuilt)}`),
    ]);
  const findings = found.flatMap(([guard, reason]): Finding[] => {
    const action = guards.actions[guard];
    return action === 'allow' ? [] : [{ action, reason }];
  });
  if (approval === 'required')
    findings.push({ action: 'hold', reason: held('APPROVAL', `every batch of this inbox waits: ${summary(counts)}`) });
  return [...replay(facts, guards, fedBy === 'upstream'), ...findings];
}

export interface VanishedFacts {
  readonly repository: string;
  /** The name of the index in it. */
  readonly file: string;
  /** Packages that the index names. */
  readonly packages: number;
  /** False when no path template of the inbox matches it any more. */
  readonly inScope: boolean;
  /** The rollback that brought it back; absent when an upload did. */
  readonly rolledBack?: RolledBack | null;
}

/** What the guards find in a repository that is served and does not lie in its inbox any more. */
export function vanishedFindings(facts: VanishedFacts, { approval, guards }: GuardRules): Finding[] {
  const { repository } = facts;
  const why = facts.inScope
    ? `its ${facts.file} is not in the inbox any more`
    : 'it matches no path template of its inbox any more';
  const detail = `${why}: ${facts.file} and its ${packages(facts.packages)} would leave`;
  if (facts.rolledBack) {
    const back = `${rollbackText(facts.rolledBack)} and brought it back; ${why}`;
    return [{ action: 'hold', reason: { code: 'REPOSITORY_VANISHED', path: repository, detail: back } }];
  }
  const asked = approval === 'required' ? 'hold' : guards.actions.vanished_repository;
  if (asked === 'allow' || (approval !== 'required' && matchesAny(guards.mayVanish, repository))) return [];
  return [{ action: asked, reason: { code: 'REPOSITORY_VANISHED', path: repository, detail } }];
}

export type Judgement =
  | { readonly kind: 'clear' }
  | { readonly kind: 'refused' | 'guarded'; readonly reasons: readonly Reason[] };

/**
 * What the findings and the newest decision about this index come to. An approval covers the reasons that were shown, for the
 * comparison with the index that was served then (`base`), and nothing else.
 */
export function judge(
  repository: string,
  findings: readonly Finding[],
  base: number | null,
  decision: Decision | null,
): Judgement {
  const reasons = findings.map((f) => f.reason);
  const refused = findings.filter((f) => f.action === 'reject').map((f) => f.reason);
  if (refused.length > 0) return { kind: 'refused', reasons: refused };
  if (decision?.decision === 'rejected') {
    const code = reasons[0]?.code ?? 'APPROVAL';
    const why = decision.why === '' ? '' : `: ${decision.why}`;
    return {
      kind: 'refused',
      reasons: [{ code, path: repository, detail: `rejected by ${decision.who}${why}` }, ...reasons],
    };
  }
  const covered = decision !== null && decision.base === base ? decision.reasons : [];
  const open = reasons.some(
    (r) => !covered.some((c) => c.code === r.code && c.path === r.path && c.detail === r.detail),
  );
  return open ? { kind: 'guarded', reasons } : { kind: 'clear' };
}

const askUpstream = 'approve only if the operator of the upstream says that it was rolled back there';

/** An index that was replaced never comes back; the last one of a repository that left may, when somebody says so, and one of which no more is known. */
function replay(facts: GuardFacts, guards: GuardSettings, fromUpstream: boolean): Finding[] {
  const { repository, index, known, served, rolledBack } = facts;
  if (served === null && facts.publishedBefore === true) {
    const lost = 'this index was published before the state was lost';
    const replaced = known?.current === true;
    const detail = replaced ? `${lost} and is not the one that is served` : lost;
    const action = replaced && !fromUpstream ? 'reject' : 'hold';
    return [{ action, reason: { code: 'REPLAY', path: repository, detail } }];
  }
  if (served === null || served.last === null) return [];
  const was = `this index was published as generation ${served.first} and`;
  const reason = (detail: string): Reason => ({ code: 'REPLAY', path: repository, detail: `${was} ${detail}` });
  if (rolledBack)
    return [{ action: 'hold', reason: reason(`taken away: ${rollbackText(rolledBack)}; approve to publish it again`) }];
  // The upstream may have rolled back, which nothing can prove: a person is asked.
  if (known?.sha256 !== index.sha256 && fromUpstream)
    return [{ action: 'hold', reason: reason(`replaced after ${served.last}; ${askUpstream}`) }];
  if (known?.sha256 !== index.sha256)
    return [{ action: 'reject', reason: reason(`replaced after ${served.last}; only a rollback may bring it back`) }];
  if (matchesAny(guards.mayVanish, repository)) return [];
  return [{ action: 'hold', reason: reason(`left after ${served.last} with its repository`) }];
}

function rollbackText({ who, why, target }: RolledBack): string {
  return `${who} rolled back to generation ${target}${why === '' ? '' : ` (${why})`}`;
}

/** How the index shows that it is older than the known one; null when it does not. */
function olderBy({ index, known }: GuardFacts): string | null {
  if (known === null) return null;
  const order = compareDescriptions(index.description, known.description);
  if (order !== null && order !== 0)
    return order < 0 ? 'by its DESCRIPTION it is older than the index that is served' : null;
  if (index.newestBuildTime === null || known.newestBuildTime === null) return null;
  if (index.newestBuildTime >= known.newestBuildTime) return null;
  const [mine, theirs] = [instant(index.newestBuildTime), instant(known.newestBuildTime)];
  return `its newest package was built at ${mine}, that of the index that is served at ${theirs}`;
}

function some(count: number, first: readonly PackageChange[]): string {
  const names = first.map(({ name, from, to }) => `${name} ${from === to ? from : `${from} to ${to}`}`);
  const more = count > first.length ? `, and ${count - first.length} more` : '';
  return `${packages(count)}: ${names.join(', ')}${more}`;
}

function summary(counts: Changes['counts']): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  return parts.length === 0 ? 'nothing changes' : parts.map(([kind, count]) => `${count} ${kind}`).join(', ');
}

function packages(count: number): string {
  return `${count} package${count === 1 ? '' : 's'}`;
}

function instant(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `second ${seconds}` : `${date.toISOString().slice(0, 19)}Z`;
}
