/** Which trusted keys cannot be used, do not count now or soon will not. Pure. */
import { validityAt } from '../../trust/standing.ts';
import { fail, type Finding, ok, warn } from './finding.ts';

export interface TrustedKeyFacts {
  readonly builder: string;
  readonly keys: readonly {
    readonly name: string;
    readonly path: string;
    readonly notBeforeMs?: number;
    readonly notAfterMs?: number;
  }[];
  /** Files that cannot be used, with why and what to do. */
  readonly faults: readonly { readonly path: string; readonly message: string }[];
}

const dayMs = 86_400_000;
const soonDays = 30;

export function judgeTrustedKeys({ builder, keys, faults }: TrustedKeyFacts, nowMs: number): Finding[] {
  const what = `signing keys of ${builder}`;
  const valid = keys.filter((key) => validityAt(key, nowMs) === 'valid');
  const unusable = faults.map(({ path, message }) => fail(what, path, message));
  const notNow = keys
    .filter((key) => !valid.includes(key))
    .map((key) => {
      const state = validityAt(key, nowMs) === 'expired' ? 'has expired' : 'is not valid yet';
      const judge = valid.length === 0 ? fail : warn;
      return judge(
        what,
        `${key.name} ${state}: signatures by it are refused`,
        'sign with another key, or change its .validity file',
      );
    });
  const soon = valid
    .filter(({ notAfterMs }) => notAfterMs !== undefined && notAfterMs - nowMs < soonDays * dayMs)
    .map(({ name, notAfterMs = 0 }) => {
      const left = Math.floor((notAfterMs - nowMs) / dayMs);
      const found = `${name} expires on ${new Date(notAfterMs).toISOString().slice(0, 10)}, ${left} days from now`;
      return warn(what, found, 'add the next key now, so that both are trusted for a while, and tell the builder');
    });
  const rest = valid.length - soon.length;
  const good = rest > 0 ? [ok(what, `${rest} valid for ${soonDays} days and more`)] : [];
  return [...good, ...soon, ...notNow, ...unusable];
}
