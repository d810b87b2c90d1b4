/** What about the keys of a configuration is allowed and yet deserves a look: scopes that match nothing, keys that do not count today. */
import { readKeyring } from '../trust/keyring.ts';
import { validityAt } from '../trust/standing.ts';
import type { Config, InboxConfig } from './schema.ts';
import { parseTemplate, templatesOverlap } from './template.ts';

/** One line each; reads the key directories. */
export async function keyWarnings(config: Config, nowMs: number): Promise<string[]> {
  const warnings: string[] = [];
  for (const inbox of config.inboxes) {
    warnings.push(...scopeWarnings(inbox).map((text) => `inbox ${inbox.builder}: ${text}`));
    const { keyring, orphans } = await readKeyring(inbox.keys);
    for (const path of orphans)
      warnings.push(`inbox ${inbox.builder}: ${path} belongs to no key: it limits nothing, remove or rename it`);
    for (const key of keyring.keys) {
      const validity = validityAt(key, nowMs);
      if (validity === 'expired')
        warnings.push(
          `inbox ${inbox.builder}: the key ${key.path ?? key.name} is expired: signatures by it are refused`,
        );
      if (validity === 'not-yet-valid')
        warnings.push(
          `inbox ${inbox.builder}: the key ${key.path ?? key.name} is not valid yet: signatures by it are refused`,
        );
    }
  }
  return warnings;
}

/** Templates of `may_sign` that no repository of the inbox can match. */
function scopeWarnings(inbox: InboxConfig): string[] {
  return inbox.keys.flatMap(({ directory, maySign }) =>
    (maySign ?? []).flatMap((written) => {
      const parsed = parseTemplate(written);
      if (!('value' in parsed) || inbox.repositories.some((r) => templatesOverlap(r, parsed.value))) return [];
      return [`may_sign ${written} of ${directory} matches no repository that the inbox may hold`];
    }),
  );
}
