/** What a configuration says about mirrors that another primary serves. */
import { duration } from './fields.ts';

export const takeoverAfter = duration('1s', '7d').optional();

export const takeoverNeedsUrl =
  'missing, expected the URL of the mirror: whether to take it over is only known from what it serves';

/** Why a mirror of that type cannot be taken over, null when it can. */
export function cannotTakeOver(type: string): string | null {
  return type === 'trigger' || type === 'pull'
    ? `not for a mirror of type ${type}: it pulls from where its own admin says, expected one that is pushed to`
    : null;
}
