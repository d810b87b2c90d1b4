/** Decides which keys of a keyring count for one repository at one instant. Pure. */
import type { Keyring, KeyRefusal, TrustedKey } from './keyring.ts';
import { toInstant } from '../system/instant.ts';

export interface KeyUse {
  readonly nowMs: number;
  /** Path of the repository that the file belongs to, and whether a key with these templates may sign there; null: scopes do not matter. */
  readonly scope: { readonly repository: string; readonly covers: (maySign: readonly string[]) => boolean } | null;
}

/**
 * The keyring for one use: each name once, and a key that does not count has its refusal. Such a key stays in it, because
 * clients know nothing of scopes and dates: the signature that they look at is still that of the first key by name.
 */
export function keyringAt(keyring: Keyring, use: KeyUse): Keyring {
  const keys = new Map<string, TrustedKey>();
  for (const key of keyring.keys) {
    const refusal = refusalOf(key, use);
    const other = keys.get(key.name);
    if (other === undefined || (refusal === null && other.refusal !== undefined))
      keys.set(key.name, refusal === null ? key : { ...key, refusal });
  }
  return { ...keyring, keys: [...keys.values()] };
}

/** Whether signatures by the key are accepted at `nowMs`, by its sidecar. */
export function validityAt(
  { notBeforeMs, notAfterMs }: Pick<TrustedKey, 'notBeforeMs' | 'notAfterMs'>,
  nowMs: number,
): 'valid' | 'expired' | 'not-yet-valid' {
  if (notAfterMs !== undefined && nowMs > notAfterMs) return 'expired';
  return notBeforeMs !== undefined && nowMs < notBeforeMs ? 'not-yet-valid' : 'valid';
}

/** The keyring without the keys that do not count, for where a signature by them is as good as one by an unknown key. */
export function withoutRefused(keyring: Keyring): Keyring {
  return { ...keyring, keys: keyring.keys.filter((key) => key.refusal === undefined) };
}

function refusalOf(key: TrustedKey, { nowMs, scope }: KeyUse): KeyRefusal | null {
  const where = key.path === undefined ? '' : ` (${key.path})`;
  switch (validityAt(key, nowMs)) {
    case 'expired':
      return {
        code: 'SIG_UNTRUSTED',
        detail: `the key ${key.name} expired at ${instant(key.notAfterMs)}${where}: sign with another key, or change its validity`,
      };
    case 'not-yet-valid':
      return {
        code: 'SIG_UNTRUSTED',
        detail: `the key ${key.name} is not valid before ${instant(key.notBeforeMs)}${where}`,
      };
    case 'valid':
  }
  if (scope === null || key.maySign === undefined || scope.covers(key.maySign)) return null;
  return {
    code: 'OUT_OF_SCOPE',
    detail: `the key ${key.name} signed for ${scope.repository}, but may sign only ${key.maySign.join(', ')}${where}`,
  };
}

function instant(ms: number | undefined): string {
  return ms === undefined ? '' : toInstant(ms);
}
