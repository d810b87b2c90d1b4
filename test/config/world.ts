/** A directory with all that a small configuration points to, for tests of loading and checking. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { loadConfig, type LoadOptions } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { ConfigError } from '../../src/errors.ts';

/** A key that may be trusted; EC ones are made in no time. */
export const publicPem = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .publicKey.export({ type: 'spki', format: 'pem' })
  .toString();
export const fingerprint = `SHA256:${'A'.repeat(43)}`;

/** A configuration with nothing wrong; $T is the directory of the test. */
export const good = `root: $T/mirror
state: $T/state
inboxes:
  - builder: one
    path: inbox/one
    repositories: ["main/{arch}"]
    keys: $T/keys
mirrors:
  - name: paris
    transport:
      type: rsync
      host: mirror.example.fr
      user: lockstep
      path: /
      identity: $T/identity
      host_key: ${fingerprint}
`;

export interface World {
  readonly directory: string;
  /** Loads `text` as a file. */
  readonly load: (text: string, options?: Partial<LoadOptions>) => Promise<Config>;
  /** The problems of `text` as `LINE:COLUMN: KEY: message`, with $T for the directory. */
  readonly problems: (text: string, options?: Partial<LoadOptions>) => Promise<string[]>;
}

export function world(t: TestContext): World {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-config-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const name of ['mirror', 'keys']) mkdirSync(join(directory, name));
  writeFileSync(join(directory, 'keys/one.rsa.pub'), publicPem);
  writeFileSync(join(directory, 'identity'), 'a key', { mode: 0o600 });
  const file = join(directory, 'lockstepd.yaml');
  const load: World['load'] = async (text, options) => {
    writeFileSync(file, text.replaceAll('$T', directory));
    return loadConfig(file, { env: {}, ...options });
  };
  const problems: World['problems'] = async (text, options) => {
    const error: unknown = await load(text, options).then(
      () => assert.fail('the configuration was accepted'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof ConfigError, String(error));
    const lines = error.problems.map((p) => `${p.file}:${p.line}:${p.column}: ${p.key}: ${p.message}`);
    assert.deepEqual(error.message.split('\n'), lines);
    return lines.map((line) => line.replace(`${file}:`, '').replaceAll(directory, '$T'));
  };
  return { directory, load, problems };
}
