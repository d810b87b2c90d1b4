/** What `lockstepd init` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

const hostname = {
  value: 'NAME',
  text: 'this host as builders and mirrors reach it; its own name when this is not given',
} as const;
const dryRun = { text: 'print what would be made; make nothing' } as const;

export const spec = {
  name: 'init',
  group: 'setup',
  summary: 'set up a primary, or add a mirror to it',
  text: [
    "Makes what is lockstepd's own, and prints what belongs into sshd, nginx and rsyncd, what the builder runs and what the owner of a mirror does: shell with comments, with the real values, to paste. Run again, it changes nothing and says so. A file that is there is never changed by init primary, the configuration neither: what would be in it is printed. init mirror adds to the list of mirrors, if the configuration then passes lockstepd check; every other byte of it stays, comments included.",
  ],
  subcommands: {
    primary: {
      text: 'make the accounts lockstepd and repoupload-NAME, the directories with their owners, the keys to trust, the line of the builder for sshd, a key to push with, and the configuration. Needs root.',
      options: {
        builder: { value: 'NAME', required: true, text: 'who uploads; the inbox is ROOT/inbox/NAME' },
        repositories: {
          value: 'TEMPLATE',
          multiple: true,
          text: 'a path that may be a repository, such as staging/*/{arch}; main/{arch} when this is not given',
        },
        'trust-key': {
          value: 'FILE',
          kind: 'file',
          multiple: true,
          text: 'a public key that may sign them, under the name that signatures use',
        },
        'builder-key': {
          value: 'KEY',
          kind: 'file',
          multiple: true,
          text: 'the public key for ssh of the builder, or a file of it',
        },
        account: { value: 'NAME', text: 'what the builder logs in as; repoupload-BUILDER when this is not given' },
        root: {
          value: 'DIR',
          kind: 'directory',
          text: 'the directory of the mirror, one file system; /srv/mirror when this is not given',
        },
        state: {
          value: 'DIR',
          kind: 'directory',
          text: 'the state of the daemon; /var/lib/lockstepd when this is not given',
        },
        listen: { value: 'HOST:PORT', text: 'status page and metrics; 127.0.0.1:9617 when this is not given' },
        hostname,
        config: configOption,
        'dry-run': dryRun,
      },
    },
    mirror: {
      text: 'add a mirror to the configuration, and print the account, the directory, the line of authorized_keys and the piece for sshd that its owner needs.',
      arguments: [{ name: 'NAME', kind: 'text', text: 'a name for the mirror' }],
      options: {
        type: {
          value: 'TYPE',
          required: true,
          text: 'how it gets its files',
          choices: {
            rsync: 'an account that runs rrsync and nothing else, the usual one',
            sftp: 'an account for SFTP, the fastest',
            directory: 'a directory of this host, be it mounted',
            rclone: 'an object store or WebDAV',
            trigger: 'it pulls when it is told to',
            pull: 'it pulls when it likes',
          },
        },
        url: { value: 'URL', text: 'where its users fetch from; without it lag is only what was pushed' },
        host: { value: 'HOST', text: 'its sshd' },
        port: { value: 'N', kind: 'number', text: 'the port of it, if not 22' },
        user: { value: 'NAME', default: 'lockstep', text: 'the account there' },
        path: {
          value: 'DIR',
          text: 'the directory there, for sftp as the account sees it; /srv/repository when this is not given',
        },
        chroot: {
          value: 'DIR',
          text: 'for sftp: what sshd confines the account to, which root owns; the path is below it',
        },
        'host-key': {
          value: 'FINGERPRINT',
          multiple: true,
          text: 'the host key (SHA256:…) as its owner sees it. Without it, what the host shows is printed, to be compared, and nothing is written; one that it does not show is refused',
        },
        identity: {
          value: 'FILE',
          kind: 'file',
          text: 'the key to push with; push-key beside the configuration when this is not given',
        },
        remote: { value: 'NAME:PATH', text: 'for rclone: a remote of its configuration' },
        'rclone-config': {
          value: 'FILE',
          kind: 'file',
          text: 'for rclone: its configuration; rclone.conf beside ours when this is not given',
        },
        hostname,
        config: configOption,
        'dry-run': dryRun,
      },
    },
  },
  exitCodes: {
    0: 'done, or nothing to do',
    75: 'nothing is written: the host key has to be compared, or the host does not answer',
    78: 'the configuration has mistakes',
  },
  examples: [
    {
      command:
        'lockstepd init primary --builder example --trust-key build.example.org.rsa.pub --builder-key builder.pub --hostname primary.example.org',
      does: 'set up a primary for one builder',
    },
    {
      command:
        'lockstepd init mirror paris --type rsync --host mirror.example.net --url https://mirror.example.net/repository/',
      does: 'see what its owner has to do, and its host key',
    },
  ],
} as const satisfies CommandSpec;
