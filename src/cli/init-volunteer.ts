/** What the owner of a mirror has to do, once, as shell to paste with the real values; nothing runs here. */
import { hereDocument } from './init-snippets.ts';

export interface VolunteerPart {
  readonly name: string;
  readonly type: 'rsync' | 'sftp' | 'trigger' | 'pull';
  /** The mirror's host; null where nobody logs in. */
  readonly host: string | null;
  readonly user: string;
  /** The directory, as root there sees it. */
  readonly directory: string;
  /** Where the account of an sftp mirror is confined to, as root there sees it; null where it is not. */
  readonly chroot: string | null;
  readonly publicKey: string;
  /** The primary, as the mirror reaches it. */
  readonly primary: string;
}

/** Shell with comments; every line may be pasted as it stands. */
export function volunteerText(part: VolunteerPart): string {
  const where = part.host ?? part.name;
  const account = part.type === 'pull' ? [] : [accountText(part), keyText(part), sshdText(part)];
  const pulls = part.type === 'pull' || part.type === 'trigger' ? [pullText(part)] : [];
  return [`# ==== For the owner of ${where}, there, as root:\n`, ...account, ...pulls, hostKeyText(part)]
    .join('\n')
    .trimEnd();
}

/** Only what pulls writes into its home. */
function ownsHome(type: VolunteerPart['type']): boolean {
  return type === 'trigger' || type === 'pull';
}

function accountText({ user, directory, chroot, type }: VolunteerPart): string {
  const shell = type === 'sftp' ? '/usr/sbin/nologin' : '/bin/sh';
  const home = ownsHome(type) ? '--create-home' : `--no-create-home --home-dir /home/${user}`;
  return `# An account that is only used for this, and the directory that your web server serves.
useradd --system ${home} --shell ${shell} --password '*' ${user}
${chroot === null ? '' : `install -d ${chroot}\n`}install -d -o ${user} -g ${user} ${directory}
`;
}

function keyText({ user, directory, publicKey, type }: VolunteerPart): string {
  const command = {
    rsync: `/usr/bin/rrsync -wo ${directory}`,
    sftp: 'internal-sftp',
    trigger: '/usr/local/bin/lockstep-pull',
    pull: '',
  }[type];
  const keys = `~${user}/.ssh/authorized_keys`;
  const directories = ownsHome(type) ? `~${user}/.ssh` : `~${user} ~${user}/.ssh`;
  return `# The key of the primary: it can do this one thing, and nothing else. All of this belongs to root, not to the account.
install -d -m 755 ${directories}
${hereDocument(keys, `restrict,command="${command}" ${publicKey}\n`, '>>')}chmod 644 ${keys}
`;
}

function sshdText({ user, type, chroot, directory }: VolunteerPart): string {
  const below = chroot === null ? '' : directory.slice(chroot === '/' ? 0 : chroot.length);
  const sftp =
    chroot === null
      ? '    ForceCommand internal-sftp\n'
      : `    ChrootDirectory ${chroot}\n    ForceCommand internal-sftp -d ${below}\n`;
  const block = `Match User ${user}
    AuthenticationMethods publickey
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    DisableForwarding yes
    PermitTTY no
    PermitUserRC no
${type === 'sftp' ? sftp : ''}`;
  const need = chroot === null ? 'Not needed, but good: sshd lets' : 'sshd lets';
  return `# ${need} the account do nothing else, whatever is in its home.
${hereDocument(`/etc/ssh/sshd_config.d/${user}.conf`, block)}sshd -t && systemctl reload ssh
`;
}

function pullText({ user, directory, primary, type }: VolunteerPart): string {
  const config = `FROM=rsync://${primary}/repository/\nTO=${directory}\n`;
  const account =
    type === 'trigger'
      ? ''
      : `useradd --system --create-home --shell /usr/sbin/nologin ${user}\ninstall -d -o ${user} -g ${user} ${directory}\n`;
  const lead =
    type === 'trigger'
      ? 'What the key starts: it pulls a whole generation, and a timer does so too should a word get lost.'
      : 'It pulls a whole generation every ten minutes, and never serves an index without its packages.';
  return `# ${lead}
# lockstep-pull, lockstep-pull.service and lockstep-pull.timer come with lockstepd (pull/); put them into this directory.
${account}install -m 755 lockstep-pull /usr/local/bin/lockstep-pull
${hereDocument('/etc/lockstep-pull.conf', config)}install -m 644 lockstep-pull.service lockstep-pull.timer /etc/systemd/system/
${user === 'lockstep' ? '' : `sed -i 's/^User=.*/User=${user}/' /etc/systemd/system/lockstep-pull.service\n`}systemctl daemon-reload && systemctl enable --now lockstep-pull.timer
`;
}

function hostKeyText({ type }: VolunteerPart): string {
  if (type === 'pull') return '';
  return `# Send this line to the admin of the primary, by another way than this host:
ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
`;
}
