/** Whether sshd lets an upload account do nothing but bring files into its inbox. Pure: reads what `sshd -T` and the key files say. */
import { resolve } from 'node:path/posix';
import type { Account } from './accounts.ts';
import { fail, type Finding, ok, warn } from './finding.ts';

export interface UploadFacts {
  readonly builder: string;
  readonly fedBy: 'builder' | 'upstream';
  readonly account: Account;
  /** Where its inbox is, every link followed. */
  readonly inbox: string;
  /** What `sshd -T -C user=…` printed; null: it printed none. */
  readonly settings: string | null;
  /** Whether root asked: sshd reads its host keys first. */
  readonly askedByRoot: boolean;
  /** The files that the settings name as its AuthorizedKeysFile. */
  readonly keyFiles: readonly KeyFile[];
}

export interface KeyFile {
  readonly path: string;
  /** Null: absent. */
  readonly text: string | null;
  readonly ownerUid: number | null;
  /** Permission bits. */
  readonly mode: number | null;
}

/** Settings without which an account can do more than upload, each with the value that it must have. */
const neededSettings: readonly (readonly [key: string, value: string, why: string])[] = [
  ['permittty', 'no', 'PermitTTY no'],
  ['permituserrc', 'no', 'PermitUserRC no'],
  ['passwordauthentication', 'no', 'PasswordAuthentication no'],
  ['kbdinteractiveauthentication', 'no', 'KbdInteractiveAuthentication no'],
];

const snippet =
  'install config/sshd/lockstepd.conf (leaf.conf for an upstream) as /etc/ssh/sshd_config.d/lockstepd.conf';

export function judgeUpload(facts: UploadFacts): Finding[] {
  const { builder, account, settings } = facts;
  const what = `sshd for ${account.name} (inbox of ${builder})`;
  const shell = judgeShell(what, account);
  if (settings === null)
    return [
      ...shell,
      facts.askedByRoot
        ? warn(what, 'sshd -T does not tell its settings', 'run sshd -T, and mend what it complains of')
        : warn(what, 'sshd does not tell this user its settings', 'run lockstepd doctor as root: it asks sshd -T'),
    ];
  const values = parseSettings(settings);
  return [...shell, judgeSettings(what, values), ...judgeKeyFiles(what, values, facts)];
}

/** sshd runs the forced command of a key by the account's shell. */
function judgeShell(what: string, { name, shell }: Account): Finding[] {
  if (!/\/(?:nologin|false)$/.test(shell)) return [];
  return [fail(what, `its shell is ${shell}, by which sshd cannot run rrsync`, `usermod --shell /bin/sh ${name}`)];
}

function judgeSettings(what: string, values: ReadonlyMap<string, string>): Finding {
  const forwards = values.get('disableforwarding') !== 'yes' && values.get('allowtcpforwarding') !== 'no';
  const lacking = neededSettings.filter(([key, value]) => values.get(key) !== value).map(([, , why]) => why);
  const all = [...(forwards ? ['DisableForwarding yes'] : []), ...lacking];
  if (all.length === 0) return ok(what, 'no forwarding, no terminal, no passwords');
  return warn(what, `lacks ${all.join(', ')}`, snippet);
}

function judgeKeyFiles(what: string, values: ReadonlyMap<string, string>, facts: UploadFacts): Finding[] {
  const { account, keyFiles } = facts;
  const forced = values.get('forcecommand') ?? 'none';
  const lines = keyFiles.flatMap(({ path, text }) => parseKeyLines(text ?? '').map((line) => ({ path, ...line })));
  if (lines.length === 0) {
    const paths = keyFiles.map(({ path }) => path).join(', ') || 'its AuthorizedKeysFile';
    return [
      fail(what, `no key in ${paths}, so nobody can upload`, 'add the line of config/sshd/authorized_keys.builder'),
    ];
  }
  const owned = keyFiles.filter(({ ownerUid }) => ownerUid === account.uid).map(({ path }) => path);
  const strict = values.get('strictmodes') !== 'no';
  const open = keyFiles.filter(({ mode }) => strict && mode !== null && (mode & 0o022) !== 0).map(({ path }) => path);
  return [
    ...open.map((path) =>
      fail(what, `${path} may be written by others: sshd takes no key from it`, `chmod go-w ${path}`),
    ),
    ...owned.map((path) =>
      warn(what, `${path} belongs to ${account.name}, who can lift its own restrictions`, `chown root: ${path}`),
    ),
    ...lines.map((line) => judgeLine(`key ${line.path}:${line.line}`, line.options, forced, values, facts)),
  ];
}

function judgeLine(
  what: string,
  options: ReadonlyMap<string, string>,
  forced: string,
  values: ReadonlyMap<string, string>,
  facts: UploadFacts,
): Finding {
  const sample = facts.fedBy === 'builder' ? 'authorized_keys.builder' : 'authorized_keys.upstream';
  const remedy = `take the line of config/sshd/${sample}`;
  // A ForceCommand of sshd counts before the one of the key.
  const command = forced === 'none' ? (options.get('command') ?? '') : forced;
  if (command === '') return fail(what, 'has no forced command: its holder gets a shell', remedy);
  if (/^internal-sftp\b/.test(command)) return judgeSftp(what, values.get('chrootdirectory') ?? 'none');
  const words = command.split(/\s+/).map((word) => word.replace(/^(["'])(.*)\1$/, '$2'));
  if (!/(?:^|\/)rrsync$/.test(words[0] ?? ''))
    return warn(what, `runs ${words[0]}, which doctor does not know`, `${remedy}, unless you know what it allows`);
  const flags = words.slice(1).filter((word) => word.startsWith('-'));
  const directory = words.slice(1).findLast((word) => !word.startsWith('-')) ?? '';
  if (!flags.includes('-wo')) return fail(what, 'rrsync without -wo lets its holder read the inbox', remedy);
  if (flags.includes('-no-lock'))
    return fail(what, 'rrsync -no-lock hides from lockstepd that an upload is under way', 'take -no-lock away');
  if (resolve('/', directory) !== facts.inbox)
    return fail(what, `rrsync leads to ${directory || 'no directory'}, the inbox is ${facts.inbox}`, remedy);
  if (!flags.includes('-munge')) return warn(what, 'rrsync without -munge lets symlinks in as they are', 'add -munge');
  if (facts.fedBy === 'builder' && !flags.includes('-no-del'))
    return warn(what, 'rrsync without -no-del lets its holder delete what was uploaded', 'add -no-del');
  if (facts.fedBy === 'upstream' && flags.includes('-no-del'))
    return warn(what, 'rrsync -no-del keeps what the upstream prunes for ever', 'take -no-del away');
  if (!options.has('restrict'))
    return warn(what, 'lacks restrict, which turns off forwarding and terminals', `write restrict, before command=`);
  return ok(what, `rrsync ${flags.join(' ')} into the inbox`);
}

function judgeSftp(what: string, chroot: string): Finding {
  if (chroot !== 'none') return ok(what, `internal-sftp, sees only ${chroot}`);
  return fail(what, 'internal-sftp without ChrootDirectory shows the whole disk', 'config/sshd/leaf.conf shows how');
}

/** `key value` lines; the first of a key counts. */
export function parseSettings(text: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, key, value] = /^(\S+) (.*)$/.exec(line.trim()) ?? [];
    if (key !== undefined && value !== undefined && !found.has(key)) found.set(key, value);
  }
  return found;
}

/** The files of an AuthorizedKeysFile setting for one account: sshd_config(5), tokens %%, %h, %u, %U. */
export function keyFilesOf(setting: string, account: Pick<Account, 'name' | 'uid'>, home: string): string[] {
  const tokens: Readonly<Record<string, string>> = { '%': '%', h: home, u: account.name, U: String(account.uid) };
  return setting
    .split(/\s+/)
    .filter((pattern) => pattern !== '' && pattern !== 'none')
    .map((pattern) =>
      resolve(
        home,
        pattern.replace(/%(.)/g, (all, token: string) => tokens[token] ?? all),
      ),
    );
}

const keyTypes = /^(?:ssh-|ecdsa-sha2-|sk-)/;

/** The options of each key of an authorized_keys file with its line: sshd(8), AUTHORIZED_KEYS FILE FORMAT. */
export function parseKeyLines(text: string): { line: number; options: Map<string, string> }[] {
  return text.split('\n').flatMap((row, index) => {
    const content = row.trim();
    if (content === '' || content.startsWith('#')) return [];
    // Options are separated by commas and may hold quoted text with spaces; the first space outside of quotes ends them.
    const [written = ''] = /^(?:[^\s"]|"(?:[^"\\]|\\.)*")+/.exec(content) ?? [];
    if (written === '' || keyTypes.test(written)) return [{ line: index + 1, options: new Map<string, string>() }];
    const options = [...written.matchAll(/([A-Za-z-]+)(?:="((?:[^"\\]|\\.)*)")?(?:,|$)/g)];
    return [
      {
        line: index + 1,
        options: new Map(
          options.map(([, name = '', value = '']) => [name.toLowerCase(), value.replaceAll('\\"', '"')]),
        ),
      },
    ];
  });
}
