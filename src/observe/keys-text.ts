/** Writes the key files that cannot be used, for `lockstepd status` and the page: one line for each. Asks nobody. */
import { escapeText } from '../system/log.ts';
import type { KeyProblemFacts } from './status.ts';

/** Escaped for terminals. */
export function keyProblemText({ builder, path, detail }: KeyProblemFacts): string {
  return `key of inbox ${escapeText(builder)} not used: ${escapeText(`${path}: ${detail}`)}`;
}
