/** Decides what `lockstepd init primary` has to make, in which order, and what it leaves to a person to paste. */
import { basename, dirname, join } from 'node:path/posix';
import {
  builderLine,
  configText,
  hereDocument,
  nginxText,
  type PrimarySettings,
  rsyncdText,
  sshdForBuilders,
  unitPaths,
} from './init-snippets.ts';
import { defaultConfigFile } from './spec.ts';
import type { Step } from './init-steps.ts';
import type { PublicKeyFile } from './init-values.ts';

export interface Settings extends PrimarySettings {
  readonly config: string;
  /** What the builder logs in as. */
  readonly account: string;
  /** The name of this host for builders and mirrors. */
  readonly hostname: string;
  readonly trustKeys: readonly PublicKeyFile[];
  readonly builderKeys: readonly string[];
}

/** In the order of need; the configuration comes last. systemd/lockstepd.sysusers.conf and lockstepd.tmpfiles.conf say why. */
export function stepsOf(settings: Settings, writesConfig: boolean): Step[] {
  const { config, root, state, inbox, account, trustKeys, builderKeys } = settings;
  const [home, inboxPath] = [dirname(config), join(root, inbox.path)];
  const directory = (path: string, mode: number, owner: string, group = owner, holds?: readonly string[]): Step => ({
    kind: 'directory',
    path,
    mode,
    owner,
    group,
    ...(holds === undefined ? {} : { holds }),
  });
  const unit = unitPaths(config, root, state);
  return [
    {
      kind: 'account',
      name: 'lockstepd',
      home: '/var/lib/lockstepd',
      shell: '/usr/sbin/nologin',
      comment: 'lockstepd daemon',
    },
    {
      kind: 'account',
      name: account,
      home: '/',
      shell: '/bin/sh',
      comment: `uploads of the builder ${inbox.builder}`,
    },
    { kind: 'member', account: 'lockstepd', group: account },
    directory(root, 0o1775, 'root', 'lockstepd', ['inbox', 'ingest', 'public', 'quarantine', 'trees']),
    ...(dirname(inboxPath) === root ? [] : [directory(dirname(inboxPath), 0o755, 'root')]),
    directory(join(root, 'ingest'), 0o700, 'lockstepd'),
    directory(join(root, 'quarantine'), 0o750, 'lockstepd'),
    directory(join(root, 'trees'), 0o755, 'lockstepd'),
    directory(inboxPath, 0o750, account),
    directory(state, 0o750, 'lockstepd', 'lockstepd', ['state.db']),
    directory(home, 0o755, 'root', 'root', [basename(config), 'authorized_keys.d', 'keys', 'push-key']),
    ...(inbox.keys.startsWith(`${home}/keys/`) ? [directory(join(home, 'keys'), 0o755, 'root')] : []),
    directory(inbox.keys, 0o755, 'root'),
    directory(join(home, 'authorized_keys.d'), 0o755, 'root'),
    ...trustKeys.map(({ name, text }): Step => ({ kind: 'file', path: join(inbox.keys, name), text })),
    ...(builderKeys.length === 0
      ? []
      : [{ kind: 'file', path: keysFile(settings), text: `${builderLines(settings).join('\n')}\n` } as const]),
    { kind: 'key-pair', path: join(home, 'push-key'), comment: `lockstepd@${settings.hostname}`, owner: 'lockstepd' },
    ...(unit === null
      ? []
      : [{ kind: 'file', path: '/etc/systemd/system/lockstepd.service.d/10-paths.conf', text: unit } as const]),
    ...(writesConfig ? [{ kind: 'file', path: config, text: configText(settings) } as const] : []),
  ];
}

/** Where sshd finds the keys of the builder. */
export function keysFile({ config, account }: Settings): string {
  return join(dirname(config), 'authorized_keys.d', account);
}

function builderLines({ root, inbox, builderKeys }: Settings): string[] {
  return builderKeys.map((key) => builderLine(join(root, inbox.path), key));
}

/** Shell with comments, to paste piece by piece; every piece says where and what for. */
export function snippetsOf(settings: Settings, knowsBuilder: boolean): string {
  const { config, root, state, account, hostname } = settings;
  const accounts = account.startsWith('repoupload-') ? 'repoupload-*' : account;
  const sshd = sshdForBuilders(accounts, join(dirname(config), 'authorized_keys.d'));
  const own = config === defaultConfigFile ? '' : ` --config ${config}`;
  const reload = unitPaths(config, root, state) === null ? '' : 'systemctl daemon-reload\n';
  const upload = knowsBuilder ? '' : noBuilderKey(settings);
  const example = settings.inbox.repositories[0]?.split('/')[0] ?? 'main';
  return `# ==== Here, as root: sshd lets ${account} upload, and do nothing else.
${hereDocument('/etc/ssh/sshd_config.d/lockstepd.conf', sshd)}sshd -t && systemctl reload ssh

# ==== Here, as root: the daemon.
${reload}lockstepd check${own} && systemctl enable --now lockstepd

# ==== Here, as root: nginx serves what is published (add TLS as you do elsewhere).
${hereDocument('/etc/nginx/conf.d/lockstepd.conf', nginxText(hostname, `${root}/public`))}nginx -t && systemctl reload nginx

# ==== Here, as root, only if mirrors are to pull: rsyncd serves whole generations.
${hereDocument('/etc/rsyncd.conf', rsyncdText(root), '>>')}systemctl enable --now rsync

${upload}# ==== At the builder, after each build, in the directory that holds ${example}/:
rsync -rt ${example} ${account}@${hostname}:/
`;
}

function noBuilderKey({ inbox, config }: Settings): string {
  const own = config === defaultConfigFile ? '' : ` --config ${config}`;
  return `# ==== At the builder, once: a key. Then here, with its public key: let it in.
ssh-keygen -t ed25519
lockstepd init primary --builder ${inbox.builder}${own} --builder-key 'ssh-ed25519 AAAA… builder'

`;
}
