/** `lockstepd init`: the first ten minutes of a primary and of each mirror; which of the two is decided here. */
import { UsageError } from '../errors.ts';
import type { Command } from './command.ts';
import { initMirror } from './init-mirror.ts';
import { initPrimary } from './init-primary.ts';
import { defaultConfigFile } from './options.ts';

export const command: Command = {
  name: 'init',
  summary: 'set up a primary, or add a mirror to it',
  help: `Usage: lockstepd init primary --builder NAME --trust-key FILE... [OPTIONS]
       lockstepd init mirror NAME --type TYPE [OPTIONS]

primary   Makes what this host needs: the accounts lockstepd and repoupload-NAME, the directories of the mirror, the
          keys to trust, the builder's line for sshd, a key to push with, the configuration. Prints what goes into sshd,
          nginx and rsyncd, and the builder's command, with the real values. Run again, it changes nothing; a
          configuration or another file that is there is never changed, but what would be in it is printed. Needs root.
mirror    Adds a mirror to the configuration, every other byte of which stays, if it then passes lockstepd check. Prints
          what the mirror's owner has to do, once: account, directory, line of authorized_keys, sshd.

Options of init primary:
  --builder NAME         who uploads; the inbox is ROOT/inbox/NAME
  --repositories PATH    a path template such as main/{arch}, once for each (default main/{arch})
  --trust-key FILE       a public key that may sign, under the name that signatures use, once for each
  --builder-key KEY      the builder's public key for ssh, or a file of it, once for each
  --account NAME         what the builder logs in as (default repoupload-NAME)
  --root DIR             the mirror's directory, one file system (default /srv/mirror)
  --state DIR            the daemon's state (default /var/lib/lockstepd)
  --listen HOST:PORT     status page and metrics (default 127.0.0.1:9617)

Options of init mirror:
  --type TYPE            rsync (an rsync account, the usual one), sftp, directory, rclone, trigger (told to pull), pull
  --url URL              where its users fetch from; without it lag is only what was pushed
  --host NAME, --port N  the mirror's sshd
  --user NAME            the account there (default lockstep)
  --path DIR             the directory there (default /srv/repository); sftp: as the account sees it
  --chroot DIR           sftp: sshd confines the account to DIR, which root owns; PATH is below it
  --host-key SHA256:…    the host key, compared with what its owner sees. Without it the key that the host shows is
                         printed and nothing is written; one that the host does not show is refused. Twice for a change.
  --identity FILE        the key to push with (default push-key beside the configuration)
  --remote NAME:PATH, --rclone-config FILE   for rclone (default rclone.conf beside the configuration)

Options of both:
  --hostname NAME        this host as builders and mirrors reach it (default: its name)
  --config FILE          the configuration (default ${defaultConfigFile})
  --dry-run              print what would be made; make nothing

Exit codes: 0 done or nothing to do, 1 failure, 2 wrong usage, 78 configuration.

Examples:
  lockstepd init primary --builder example --trust-key build.example.org.rsa.pub --builder-key builder.pub
  lockstepd init mirror paris --type rsync --host mirror.example.net --url https://mirror.example.net/repository/
`,
  run: async ([what, ...args], io) => {
    if (what === 'primary') return initPrimary(args, io);
    if (what === 'mirror') return initMirror(args, io);
    throw new UsageError(`init: expected primary or mirror, got ${what ?? 'nothing'}`);
  },
};
