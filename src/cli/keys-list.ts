/** `lockstepd keys list`: the keys of the configuration, and what of the published hangs on them if the daemon tells. */
import { dirname } from 'node:path';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { OperationError } from '../errors.ts';
import type { RepositoryStatus } from '../observe/status.ts';
import { systemClock } from '../system/clock.ts';
import { toInstant } from '../system/instant.ts';
import { askDaemon } from '../system/control.ts';
import { escapeJson, escapeText } from '../system/log.ts';
import { readKeyring, type TrustedKey } from '../trust/keyring.ts';
import { type PublicKeyFacts, publicKeyFacts } from '../trust/public-key.ts';
import { validityAt } from '../trust/standing.ts';
import { exitCode, type Io } from './command.ts';
import { isStatus } from './status.ts';

export interface KeysOptions {
  readonly json: boolean;
  readonly config: string;
}

interface ListedKey {
  readonly inbox: string;
  readonly name: string;
  readonly directory: string;
  readonly type: PublicKeyFacts['type'];
  readonly bits: number;
  readonly fingerprint: string;
  readonly key_id: string;
  readonly may_sign: readonly string[] | null;
  readonly not_before: string | null;
  readonly not_after: string | null;
  readonly validity: 'valid' | 'expired' | 'not-yet-valid';
  /** The published indexes that it has signed; null when no daemon told. */
  readonly indexes: readonly string[] | null;
}

interface KeyList {
  readonly version: 1;
  readonly keys: readonly ListedKey[];
  readonly problems: readonly { readonly inbox: string; readonly path: string; readonly detail: string }[];
  /** Published indexes whose key is not trusted any more; null when no daemon told. */
  readonly untrusted_indexes:
    | readonly { readonly repository: string; readonly key: string; readonly state: string }[]
    | null;
}

/** Prints the list; 0, or 1 when a key file or directory could not be used. */
export async function list(options: KeysOptions, io: Io): Promise<number> {
  const config = await loadConfig(options.config, { env: io.env, outsideService: true, ignoreDisk: true });
  const published = await publishedIndexes(config);
  const found = await keyList(config, published, systemClock.now());
  if (options.json) io.out(`${escapeJson(JSON.stringify(found, null, 1), { lines: true })}\n`);
  else io.out(toText(found));
  for (const { inbox, path, detail } of found.problems)
    io.err(`${escapeText(`lockstepd: keys: inbox ${inbox}: ${path}: ${detail}`)}\n`);
  if (published === null)
    io.err('lockstepd: keys: no daemon answers, so the published indexes are not shown: keys audit reads them\n');
  return found.problems.length > 0 ? exitCode.failure : exitCode.ok;
}

/** What the daemon serves, null when none answers. */
async function publishedIndexes({ socket }: Config): Promise<readonly RepositoryStatus[] | null> {
  try {
    const { status, body } = await askDaemon(socket, '/status.json');
    return status === 200 && isStatus(body) ? body.repositories : null;
  } catch (error) {
    if (error instanceof OperationError) return null;
    throw error;
  }
}

async function keyList(config: Config, published: readonly RepositoryStatus[] | null, nowMs: number): Promise<KeyList> {
  const keys: ListedKey[] = [];
  const problems: KeyList['problems'][number][] = [];
  for (const inbox of config.inboxes) {
    const { keyring, faults } = await readKeyring(inbox.keys, inbox.signatureAlgorithms);
    for (const key of keyring.keys) keys.push(listed(inbox.builder, key, published, nowMs));
    for (const { path, message } of faults) problems.push({ inbox: inbox.builder, path, detail: message });
  }
  const untrusted = published?.filter((index) => index.key_state !== 'valid');
  return {
    version: 1,
    keys,
    problems,
    untrusted_indexes:
      untrusted?.map(({ path, signed_by, key_state }) => ({ repository: path, key: signed_by, state: key_state })) ??
      null,
  };
}

function listed(
  inbox: string,
  key: TrustedKey,
  published: readonly RepositoryStatus[] | null,
  nowMs: number,
): ListedKey {
  const { type, bits, fingerprint, keyId } = publicKeyFacts(key.pem);
  const signed = published?.filter(
    (index) =>
      index.builder === inbox &&
      index.signed_by === key.name &&
      (index.signed_key === null || index.signed_key === fingerprint),
  );
  return {
    inbox,
    name: key.name,
    directory: dirname(key.path ?? ''),
    type,
    bits,
    fingerprint,
    key_id: keyId,
    may_sign: key.maySign ?? null,
    not_before: key.notBeforeMs === undefined ? null : toInstant(key.notBeforeMs),
    not_after: key.notAfterMs === undefined ? null : toInstant(key.notAfterMs),
    validity: validityAt(key, nowMs),
    indexes: signed?.map((index) => index.path) ?? null,
  };
}

function toText({ keys, untrusted_indexes: untrusted }: KeyList): string {
  const blocks = keys.map((key) => {
    const limits = [
      ...(key.not_before === null ? [] : [`from ${key.not_before}`]),
      ...(key.not_after === null ? [] : [`until ${key.not_after}`]),
    ];
    const lines = [
      `${key.name} (${key.type}, ${key.bits} bits), inbox ${key.inbox}: ${[key.validity, ...limits].join(' ')}`,
      `  directory  ${key.directory}`,
      `  may sign   ${key.may_sign === null ? 'every repository of the inbox' : key.may_sign.join(', ')}`,
      `  SHA-256    ${key.fingerprint}`,
      `  v3 key id  ${key.key_id}`,
      ...(key.indexes === null ? [] : [`  published  ${key.indexes.join(', ') || 'nothing hangs on it'}`]),
    ];
    return `${lines.map((line) => escapeText(line)).join('\n')}\n`;
  });
  if (untrusted !== null && untrusted.length > 0) {
    const lines = untrusted.map(({ repository, key, state }) => `  ${repository}: ${key} (${state})`);
    blocks.push(
      `published, and hanging on a key that is not trusted any more:\n${lines.map((line) => escapeText(line)).join('\n')}\n`,
    );
  }
  return blocks.length === 0 ? 'no usable key\n' : blocks.join('\n');
}
