/** Decides what a key of a keyring means for a repository: whether it may sign it, and what becomes of an index that it has signed. Pure. */
import type { Keyring, TrustedKey } from '../trust/keyring.ts';
import { keyringAt, validityAt } from '../trust/standing.ts';
import { matchTemplate, parseTemplate } from './template.ts';

/** The keyring as it counts for files of `repository` at `nowMs`. */
export function keyringOf(keyring: Keyring, repository: string, nowMs: number): Keyring {
  return keyringAt(keyring, { nowMs, scope: { repository, covers: (maySign) => covers(maySign, repository) } });
}

/** What is to be said of the key behind a published index. `no-inbox`: no inbox of the configuration may hold the repository any more. */
export type KeyState = 'valid' | 'removed' | 'replaced' | 'expired' | 'not-yet-valid' | 'out-of-scope' | 'no-inbox';

/** What is known of a published index's signer. */
export interface SignedIndex {
  readonly repository: string;
  readonly signedBy: string;
  /** The key's fingerprint; absent when it was not noted. */
  readonly signedKey?: string;
}

/**
 * Whether the key that signed a published index would be accepted today. `keys` are those of its inbox, null when there is
 * none; `fingerprint` is the one of a key in it.
 */
export function keyStateOf(
  index: SignedIndex,
  keys: readonly (TrustedKey & { readonly fingerprint: string })[] | null,
  nowMs: number,
): KeyState {
  if (keys === null) return 'no-inbox';
  const named = keys.filter((key) => key.name === index.signedBy);
  if (named.length === 0) return 'removed';
  const same = named.filter((key) => index.signedKey === undefined || key.fingerprint === index.signedKey);
  const states = same.map((key): KeyState => {
    const validity = validityAt(key, nowMs);
    if (validity !== 'valid') return validity;
    return key.maySign === undefined || covers(key.maySign, index.repository) ? 'valid' : 'out-of-scope';
  });
  return states.find((state) => state === 'valid') ?? states[0] ?? 'replaced';
}

/** True when one of the templates matches the repository. */
function covers(templates: readonly string[], repository: string): boolean {
  return templates.some((written) => {
    const parsed = parseTemplate(written);
    return 'value' in parsed && matchTemplate(parsed.value, repository) !== null;
  });
}
