/** `lockstepd keys audit`: verifies what is published by the keys of now. Reads the disk only; needs no daemon, changes nothing. */
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type IndexEntry, indexFileNames, packageFileName } from '../apk/entry.ts';
import { keyringOf } from '../config/key-scope.ts';
import { loadConfig } from '../config/load.ts';
import type { Config, InboxConfig } from '../config/schema.ts';
import { isComponentName, matchTemplate } from '../config/template.ts';
import { errnoOf, messageOf, OperationError, type VerificationCode } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import { eachLimited } from '../system/limit.ts';
import { escapeJson, escapeText } from '../system/log.ts';
import { type KeyFault, type Keyring, readKeyring } from '../trust/keyring.ts';
import { readPackageSigner } from '../trust/package-signer.ts';
import { Verifier } from '../trust/verify.ts';
import { exitCode, type Io } from './command.ts';
import type { KeysOptions } from './keys-list.ts';

/** How many packages of a repository a signer has signed. */
interface SignerCount {
  readonly key: string | null;
  /** Null: the signature is right by a key of now. */
  readonly code: VerificationCode | null;
  readonly packages: number;
}

interface AuditedIndex {
  readonly repository: string;
  readonly file: string;
  readonly inbox: string | null;
  readonly ok: boolean;
  readonly code: VerificationCode | null;
  readonly detail: string;
  readonly signed_by: string | null;
  readonly packages: readonly SignerCount[];
  /** Packages that the index names and that cannot be read. */
  readonly unread: number;
}

interface Keys {
  readonly inbox: InboxConfig;
  readonly keyring: Keyring;
}

/** Prints what was found; 0 when every published index hangs on a trusted key, 4 when not, 1 when something cannot be read. */
export async function audit(options: KeysOptions, io: Io): Promise<number> {
  const config = await loadConfig(options.config, { env: io.env, outsideService: true, ignoreDisk: true });
  const { keys, faults } = await readKeys(config);
  const tree = await servedTree(config);
  const indexes: AuditedIndex[] = [];
  await using verifier = new Verifier({ workers: 1 });
  for (const repository of tree === null ? [] : await repositoriesOf(tree)) {
    io.signal.throwIfAborted();
    indexes.push(...(await auditRepository(join(tree ?? '', repository), repository, keys, verifier, io.signal)));
  }
  const problems = faults.map(({ path, message }) => ({ path, detail: message }));
  if (options.json)
    io.out(`${escapeJson(JSON.stringify({ version: 1, indexes, problems }, null, 1), { lines: true })}\n`);
  else io.out(indexes.length === 0 ? 'nothing is published\n' : indexes.map(toText).join(''));
  for (const { path, detail } of problems) io.err(`${escapeText(`lockstepd: keys: ${path}: ${detail}`)}\n`);
  if (indexes.some((index) => !index.ok)) return exitCode.refused;
  return problems.length > 0 ? exitCode.failure : exitCode.ok;
}

async function readKeys(config: Config): Promise<{ keys: Keys[]; faults: KeyFault[] }> {
  const keys: Keys[] = [];
  const faults: KeyFault[] = [];
  for (const inbox of config.inboxes) {
    const read = await readKeyring(inbox.keys, inbox.signatureAlgorithms);
    keys.push({ inbox, keyring: read.keyring });
    faults.push(...read.faults);
  }
  return { keys, faults };
}

/** The tree that is served now; it stays as it is for a while when another one takes its place. */
async function servedTree({ root }: Config): Promise<string | null> {
  try {
    return await realpath(join(root, 'public'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

const trace = z.object({ repositories: z.array(z.object({ path: z.string() })) });

async function repositoriesOf(tree: string): Promise<string[]> {
  const file = join(tree, 'lockstep.json');
  try {
    const { repositories } = trace.parse(JSON.parse(await readFile(file, 'utf8')));
    return repositories.map(({ path }) => path).filter((path) => path.split('/').every(isComponentName));
  } catch (error) {
    throw new OperationError(
      'LAYOUT',
      `${file} does not tell what is published: ${messageOf(error)}: is root the directory of lockstepd?`,
      { cause: error },
    );
  }
}

async function auditRepository(
  directory: string,
  repository: string,
  keys: readonly Keys[],
  verifier: Verifier,
  signal: AbortSignal,
): Promise<AuditedIndex[]> {
  const found: AuditedIndex[] = [];
  for (const file of indexFileNames) {
    await using handle = await openFile(join(directory, file));
    if (handle === null) continue;
    const place = { repository, file: `${repository}/${file}` };
    const owner = ownerOf(repository, keys);
    if (owner === null) {
      found.push({ ...place, ...nobody('no inbox of the configuration may hold this repository') });
      continue;
    }
    const { inbox, arch } = owner;
    const keyring = keyringOf(owner.keyring, repository, systemClock.now());
    const entries: IndexEntry[] = [];
    const verdict = await verifier.verifyIndex({
      sourceFd: handle.fd,
      arch,
      keyring,
      ignoreLinks: true,
      onEntries: (slice) => void entries.push(...slice),
      signal,
    });
    const { counts, unread } = await signersOf(directory, entries, keyring);
    const demanded = inbox.packageSignatures === 'require' && counts.some(({ code }) => code !== null);
    // An index that names nothing is in order when a person has let it through.
    const right = verdict.verdict === 'accepted' || verdict.code === 'INDEX_EMPTY';
    found.push({
      ...place,
      inbox: inbox.builder,
      ok: right && !demanded,
      code: right ? null : verdict.code,
      detail: right ? (demanded ? 'packages without the signature that this inbox requires' : '') : verdict.detail,
      signed_by: verdict.verdict === 'accepted' ? verdict.index.signedBy : null,
      packages: counts,
      unread,
    });
  }
  if (found.length > 0) return found;
  return [{ repository, file: repository, ...nobody('it is published, and its index is not there') }];
}

function nobody(detail: string): Omit<AuditedIndex, 'repository' | 'file'> {
  return { inbox: null, ok: false, code: null, detail, signed_by: null, packages: [], unread: 0 };
}

function ownerOf(repository: string, keys: readonly Keys[]): (Keys & { readonly arch: string }) | null {
  for (const owner of keys) {
    for (const template of owner.inbox.repositories) {
      const match = matchTemplate(template, repository);
      if (match !== null) return { ...owner, arch: match.arch ?? repository.split('/').at(-1) ?? '' };
    }
  }
  return null;
}

const readsAtOnce = 8;
/** Names of signers are the uploader's; so many are told apart. */
const signersShown = 20;

async function signersOf(
  directory: string,
  entries: readonly IndexEntry[],
  keyring: Keyring,
): Promise<{ counts: SignerCount[]; unread: number }> {
  const counts = new Map<string, SignerCount>();
  let unread = 0;
  await eachLimited(entries, readsAtOnce, async (entry) => {
    await using file = await openFile(join(directory, packageFileName(entry)));
    if (file === null) {
      unread++;
      return;
    }
    const { key, code } = await readPackageSigner(file, keyring);
    const own = JSON.stringify([key, code]);
    const told = counts.has(own) || counts.size < signersShown;
    const id = told ? own : JSON.stringify(['(others)', code]);
    counts.set(id, { key: told ? key : '(others)', code, packages: (counts.get(id)?.packages ?? 0) + 1 });
  });
  return { counts: [...counts.values()].sort((a, b) => b.packages - a.packages), unread };
}

async function openFile(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function toText(index: AuditedIndex): string {
  const why = [index.code, index.detail].filter((text) => text !== null && text !== '').join(' ');
  const lines = [
    `${index.ok ? 'ok       ' : 'UNTRUSTED'} ${index.file}: ${index.ok ? `signed by ${index.signed_by ?? 'a trusted key'}` : why}`,
    ...index.packages.map(({ key, code, packages }) => {
      const who = key === null ? 'not signed' : `signed by ${key}`;
      return `          ${packages} of its packages ${who}${code === null || key === null ? '' : ` (${code})`}`;
    }),
    ...(index.unread > 0 ? [`          ${index.unread} of its packages not there`] : []),
  ];
  return `${lines.map((line) => escapeText(line)).join('\n')}\n`;
}
