/** Gathers owners, modes and accounts, and what sshd says of those that upload. */
import { readdir, readlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { serviceCredentials } from '../../config/identity.ts';
import type { Config } from '../../config/schema.ts';
import { type Account, accountOf, parseAccounts, type PathFacts } from './accounts.ts';
import { ownDirectories } from './machine-facts.ts';
import type { Machine } from './machine.ts';
import { parentsOf } from './parents.ts';
import type { PermissionFacts, PublicFacts } from './permissions.ts';
import { type KeyFile, keyFilesOf, parseSettings, type UploadFacts } from './sshd.ts';

export async function gatherAccounts(machine: Machine): Promise<Account[]> {
  return parseAccounts((await machine.text('/etc/passwd')) ?? '', (await machine.text('/etc/group')) ?? '');
}

/** Who the daemon runs as: who it is when it runs, else what its unit says, else who owns its state, else who looks. */
export async function daemonAccount(
  machine: Machine,
  known: {
    readonly accounts: readonly Account[];
    readonly state: string;
    readonly pid: number | null;
    readonly unit: string | null;
  },
): Promise<Account> {
  const { accounts, state, pid, unit } = known;
  const running = pid === null ? null : await machine.path(`/proc/${pid}`);
  if (running !== null && 'uid' in running) return accountOf(accounts, running.uid, running.gid);
  const user = [...(unit ?? '').matchAll(/^User=(\S+)\s*$/gm)].at(-1)?.[1];
  const named = accounts.find(({ name }) => name === user);
  if (named) return named;
  const owner = await machine.path(state);
  return 'uid' in owner ? accountOf(accounts, owner.uid, owner.gid) : accountOf(accounts, machine.uid);
}

/** `skip`: mirrors whose directory does not answer. */
export async function gatherPermissions(
  machine: Machine,
  config: Config,
  known: { readonly accounts: readonly Account[]; readonly daemon: Account; readonly skip: ReadonlySet<string> },
): Promise<PermissionFacts> {
  const { root, state, inboxes } = config;
  const secrets = Map.groupBy(
    secretsOf(config).filter(({ path }) => !isHandedOver(path)),
    ({ path }) => path,
  );
  return {
    ...known,
    config: await machine.path(config.file),
    keys: await gatherKeys(machine, config),
    secrets: await inOrder([...secrets], async ([path, [first, ...more]]) => ({
      what: `${first?.what}${more.length === 0 ? '' : ` and ${more.length} more`},`,
      file: await machine.path(path),
    })),
    inboxes: await inOrder(inboxes, async ({ builder, path }) => ({ builder, directory: await machine.path(path) })),
    parents: await inOrder(
      parentsOf([
        config.file,
        root,
        state,
        ...inboxes.flatMap(({ path, keys }) => [path, ...keys.map(({ directory }) => directory)]),
        ...secrets.keys(),
      ]),
      (path) => machine.path(path),
    ),
    root: await machine.path(root),
    state: await machine.path(state),
    own: await inOrder(ownDirectories, (name) => machine.path(join(root, name))),
    publicLink: await gatherPublic(machine, join(root, 'public')),
    directories: await inOrder(directoriesOf(config, known.skip), async ({ mirror, path }) => ({
      mirror,
      directory: await machine.path(path),
    })),
  };
}

async function gatherKeys(machine: Machine, { inboxes }: Config): Promise<PermissionFacts['keys']> {
  return inOrder(
    inboxes.flatMap(({ builder, keys }) => keys.map(({ directory }) => ({ builder, directory }))),
    async ({ builder, directory }) => {
      const names = (await readdir(directory).catch(() => [])).filter((name) => /\.(?:pub|pem|validity)$/.test(name));
      const files = await inOrder(names.sort(), (name) => machine.path(join(directory, name)));
      return { builder, directory: await machine.path(directory), files };
    },
  );
}

/** Every file that the configuration names and that holds a secret. */
export function secretsOf({ mirrors, announce }: Config): { what: string; path: string }[] {
  const ofMirrors = mirrors.flatMap(({ name, transport }) => {
    if ('identity' in transport) return [{ what: `private key of mirror ${name}`, path: transport.identity }];
    return 'configFile' in transport
      ? [{ what: `configuration of rclone for mirror ${name}`, path: transport.configFile }]
      : [];
  });
  const ofBrokers = announce.flatMap(({ name, passwordFile }) =>
    passwordFile === null ? [] : [{ what: `password of broker ${name}`, path: passwordFile }],
  );
  return [...ofMirrors, ...ofBrokers];
}

/** True for what only systemd hands over, when the service starts. */
export function isHandedOver(path: string): boolean {
  return dirname(path) === serviceCredentials;
}

function directoriesOf({ mirrors }: Config, skip: ReadonlySet<string>): { mirror: string; path: string }[] {
  return mirrors.flatMap(({ name, transport }) =>
    transport.type === 'directory' && !skip.has(name) ? [{ mirror: name, path: transport.path }] : [],
  );
}

async function gatherPublic(machine: Machine, path: string): Promise<PublicFacts> {
  const link = await machine.path(path, { follow: false });
  const target = link.kind === 'link' ? await readlink(path).catch(() => null) : null;
  return { link, target, leads: await machine.path(path) };
}

/** The accounts that own an inbox and are not the daemon. */
export async function gatherUploads(
  machine: Machine,
  { inboxes }: Config,
  { accounts, daemon }: { readonly accounts: readonly Account[]; readonly daemon: Account },
): Promise<UploadFacts[]> {
  const found: UploadFacts[] = [];
  for (const { builder, fedBy, path } of inboxes) {
    const facts = await machine.path(path);
    if (!('uid' in facts) || facts.uid === daemon.uid || facts.uid === 0) continue;
    const account = accountOf(accounts, facts.uid, facts.gid);
    const settings = await sshdSettings(machine, account);
    const files = settings === null ? [] : await gatherKeyFiles(machine, settings, account);
    found.push({
      builder,
      fedBy,
      account,
      inbox: await machine.real(path),
      settings,
      askedByRoot: machine.uid === 0,
      keyFiles: files,
    });
  }
  return found;
}

/** sshd reads its host keys before it tells its settings, which only root may. */
async function sshdSettings(machine: Machine, { name }: Account): Promise<string | null> {
  const sshd = machine.program('sshd');
  if (sshd === null) return null;
  return machine.run([sshd, '-T', '-C', `user=${name},host=localhost,addr=127.0.0.1`]);
}

async function gatherKeyFiles(machine: Machine, settings: string, account: Account): Promise<KeyFile[]> {
  const paths = keyFilesOf(parseSettings(settings).get('authorizedkeysfile') ?? '', account, account.home);
  return inOrder(paths, async (path) => {
    const facts: PathFacts = await machine.path(path);
    return {
      path,
      text: await machine.text(path),
      ownerUid: 'uid' in facts ? facts.uid : null,
      mode: 'mode' in facts ? facts.mode : null,
    };
  });
}

/** One after the other: a doctor is in no hurry, and a machine in trouble has other things to do. */
async function inOrder<T, R>(items: readonly T[], look: (item: T) => Promise<R>): Promise<R[]> {
  const found: R[] = [];
  for (const item of items) found.push(await look(item));
  return found;
}
