/** The `guards:` of a configuration and of an inbox: what is rejected, what waits for a person, what goes out without asking. */
import type { z } from 'zod';
import { listOf, oneOf, section, text, wholeNumber } from './fields.ts';
import { parseTemplate, type Template, templateExample } from './template.ts';

const guardNames = [
  'mass_removal',
  'empty_index',
  'older_index',
  'copied_index',
  'downgrade',
  'rebuilt',
  'vanished_repository',
] as const;
export type GuardName = (typeof guardNames)[number];
export type GuardAction = 'hold' | 'reject' | 'allow';

export interface GuardSettings {
  /** What is done with a batch in which the guard finds something. */
  readonly actions: Readonly<Record<GuardName, GuardAction>>;
  /** More than this part of a repository's packages removed is a mass removal; in percent. */
  readonly maxRemovedPercent: number;
  /** And so are more than this many packages. */
  readonly maxRemoved: number;
  /** Repositories that may vanish, and come back, without anybody being asked. */
  readonly mayVanish: readonly Template[];
}

const action = (): z.ZodOptional<z.ZodType<GuardAction, GuardAction>> => oneOf('hold', 'reject', 'allow').optional();

/** Every key may be left out: the inbox then follows the whole configuration, and that the defaults. */
export const guards = section({
  max_removed_percent: wholeNumber(0, 100).optional(),
  max_removed: wholeNumber(0, 1_000_000).optional(),
  mass_removal: action(),
  empty_index: action(),
  older_index: action(),
  copied_index: action(),
  downgrade: action(),
  rebuilt: action(),
  vanished_repository: action(),
  may_vanish: listOf('path templates', text(templateExample, parseTemplate), 0).optional(),
});
export type WrittenGuards = z.output<typeof guards>;

const defaults = { max_removed_percent: 30, max_removed: 500, may_vanish: [] };

/** The settings of one inbox: its own keys, else those of the whole configuration, else the defaults. */
export function toGuards(whole: WrittenGuards, own: WrittenGuards): GuardSettings {
  const merged = { ...defaults, ...whole, ...own };
  const actions = Object.fromEntries(guardNames.map((name) => [name, merged[name] ?? 'hold']));
  return {
    actions: actions as GuardSettings['actions'],
    maxRemovedPercent: merged.max_removed_percent ?? defaults.max_removed_percent,
    maxRemoved: merged.max_removed ?? defaults.max_removed,
    mayVanish: merged.may_vanish ?? defaults.may_vanish,
  };
}
