/** What a configuration says about when mirrors show a new generation: each as soon as it can, or together. */
import { z } from 'zod';
import { describe, duration, expects, oneOf, section } from './fields.ts';

/** How many mirrors must have the packages. */
export type Quorum = { readonly percent: number } | { readonly mirrors: number };

export interface SwitchSettings {
  readonly mode: 'each' | 'together';
  readonly quorum: Quorum;
  /** The indexes wait for this long at most. */
  readonly deadlineMs: number;
}

const quorumExample = 'a share such as 80% or a number of mirrors such as 4';

const quorum = z.union([z.string(), z.number()], expects(quorumExample)).transform((written, context): Quorum => {
  const [, digits, sign] = /^(\d{1,4})(%?)$/.exec(String(written)) ?? [];
  const value = Number(digits);
  if (digits !== undefined && value >= 1 && (sign === '' || value <= 100))
    return sign === '%' ? { percent: value } : { mirrors: value };
  context.addIssue({ code: 'custom', message: `${describe(written)}, expected ${quorumExample}` });
  return z.NEVER;
});

export const switching = section({
  mode: oneOf('each', 'together').prefault('each'),
  quorum: quorum.prefault('80%'),
  deadline: duration('1s', '1d').prefault('10m'),
});

export function toSwitch(written: z.output<typeof switching>): SwitchSettings {
  return { mode: written.mode, quorum: written.quorum, deadlineMs: written.deadline };
}
