/** What `lockstepd init` writes and prints: configuration, lines of authorized_keys, pieces for sshd, rsyncd, nginx and systemd, with real values. */
import { defaultConfigFile } from './spec.ts';

export interface Inbox {
  readonly builder: string;
  readonly path: string;
  readonly repositories: readonly string[];
  readonly keys: string;
}

export interface PrimarySettings {
  readonly root: string;
  readonly state: string;
  readonly listen: string;
  readonly inbox: Inbox;
}

/** The first configuration of a primary. Every value must be plain: it is not quoted. */
export function configText({ root, state, listen, inbox }: PrimarySettings): string {
  return `# Written by lockstepd init. lockstepd.example.yaml explains every key; lockstepd check says every mistake at once.
root: ${root}
state: ${state}
# Status page, metrics, /status.json.
listen: ${listen}

# One inbox per builder: what its upload key is confined to.
inboxes:
  - builder: ${inbox.builder}
    path: ${inbox.path}
    # Directories of the inbox that may be repositories; they have the same path in the public tree.
    repositories:
${inbox.repositories.map((template) => `      - "${template}"`).join('\n')}
    # The public keys that may sign them.
    keys: ${inbox.keys}

# lockstepd init mirror NAME adds to these.
mirrors: []
`;
}

/** The line that lets a builder do nothing but upload into its inbox; config/sshd/authorized_keys.builder says why each word. */
export function builderLine(inbox: string, publicKey: string): string {
  return `restrict,command="/usr/bin/rrsync -wo -munge -no-del ${inbox}" ${publicKey}`;
}

/** config/sshd/lockstepd.conf for one account, or for all that are called as it is (`repoupload-*`). */
export function sshdForBuilders(accounts: string, keysDirectory: string): string {
  return `Match User ${accounts}
    AuthorizedKeysFile ${keysDirectory}/%u
    AuthenticationMethods publickey
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    DisableForwarding yes
    PermitTTY no
    PermitUserRC no
    MaxSessions 1
    ClientAliveInterval 20
    ClientAliveCountMax 3
`;
}

/** config/rsyncd/rsyncd.conf. */
export function rsyncdText(root: string): string {
  return `[repository]
    path = ${root}/public
    comment = Signed packages, one consistent generation per transfer
    read only = yes
    list = yes
    use chroot = yes
    uid = nobody
    gid = nogroup
    max connections = 50
    timeout = 300
    dont compress = *
    refuse options = checksum
`;
}

/** config/nginx/repository.conf. `directory` is what it serves: `public` of a primary, or the directory of a mirror. */
export function nginxText(hostname: string, directory: string): string {
  return `server {
    listen 80;
    listen [::]:80;
    server_name ${hostname};
    root ${directory};
    autoindex on;
    default_type application/octet-stream;
    types {
        application/gzip gz;
        application/json json;
        text/html html;
        text/plain txt;
    }
    location ~ /\\. {
        return 404;
    }
    location ~ (/APKINDEX\\.tar\\.gz|/[Pp]ackages\\.adb|^/lockstep\\.json)$ {
        add_header Cache-Control no-cache;
    }
    location ~ \\.apk$ {
        add_header Cache-Control "public, max-age=86400";
    }
}
`;
}

export const defaultRoot = '/srv/mirror';
export const defaultState = '/var/lib/lockstepd';

/** What the unit must know where the paths are not its own; null where they are. */
export function unitPaths(config: string, root: string, state: string): string | null {
  if (config === defaultConfigFile && root === defaultRoot && state === defaultState) return null;
  return `[Unit]
RequiresMountsFor=${root}

[Service]
${config === defaultConfigFile ? '' : `ExecStart=\nExecStart=/usr/bin/lockstepd run --config ${config}\n`}ReadWritePaths=
ReadWritePaths=${root}${state === defaultState ? '' : ` ${state}`}
ReadOnlyPaths=
ReadOnlyPaths=-${root}/inbox
`;
}

/** What the unit must know of a mirror that is a directory here. A disk that is away (`-`) does not keep the service from starting. */
export function unitMirror(directory: string): string {
  return `[Service]\nReadWritePaths=-${directory}\n`;
}

/** A file as a piece of shell that writes it (`>`) or adds to it (`>>`). */
export function hereDocument(file: string, text: string, operator: '>' | '>>' = '>'): string {
  return `cat ${operator} ${file} <<'END'\n${text}END\n`;
}
