/** Whether owners and modes let the daemon do its work, and keep everybody else from it. Pure. */
import { access, type Account, accountOf, modeText, type PathFacts, permits, type SeenPath } from './accounts.ts';
import { fail, type Finding, ok, unseen, warn } from './finding.ts';
import { judgeParents } from './parents.ts';

export interface PermissionFacts {
  /** Who the daemon runs as. */
  readonly daemon: Account;
  readonly accounts: readonly Account[];
  readonly config: PathFacts;
  readonly keys: readonly {
    readonly builder: string;
    readonly directory: PathFacts;
    readonly files: readonly PathFacts[];
  }[];
  /** Private keys, passwords: `what` says of which mirror or broker. */
  readonly secrets: readonly { readonly what: string; readonly file: PathFacts }[];
  readonly inboxes: readonly { readonly builder: string; readonly directory: PathFacts }[];
  /** What lies above the paths of the daemon. */
  readonly parents: readonly PathFacts[];
  readonly root: PathFacts;
  readonly state: PathFacts;
  /** What belongs to the daemon below root. */
  readonly own: readonly PathFacts[];
  readonly publicLink: PublicFacts;
  /** Mirrors that are directories of this host. */
  readonly directories: readonly { readonly mirror: string; readonly directory: PathFacts }[];
}

export interface PublicFacts {
  /** The link itself. */
  readonly link: PathFacts;
  /** What it says; null: it is no link. */
  readonly target: string | null;
  /** Where it leads. */
  readonly leads: PathFacts;
}

const everything = access.read | access.write | access.search;
const reading = access.read | access.search;
const others = 0o002;
const groupAndOthers = 0o022;

export function judgePermissions(facts: PermissionFacts): Finding[] {
  const { daemon } = facts;
  return [
    judgeTrusted('configuration', facts.config, daemon, access.read),
    ...facts.keys.flatMap((keys) => judgeKeys(keys, daemon)),
    ...facts.secrets.map(({ what, file }) => judgeSecret(what, file, daemon)),
    ...judgeParents(facts.parents, daemon),
    judgeRoot(facts.root, daemon),
    judgeState(facts.state, daemon),
    ...facts.own.flatMap((directory) => judgeOwn(directory, daemon)),
    ...facts.inboxes.map((inbox) => judgeInbox(inbox, facts)),
    judgePublic(facts.publicLink, daemon),
    ...facts.directories.map(({ mirror, directory }) => judgeDirectoryMirror(mirror, directory, daemon)),
  ];
}

/** Something that decides what is trusted: only root and the daemon may change it. */
function judgeTrusted(name: string, file: PathFacts, daemon: Account, bits: number): Finding {
  const what = `${name} ${file.path}`;
  if (!isSeen(file)) return missing(what, file, 'make it, or mend the path in the configuration');
  // Members of root's group are root's own business.
  if ((file.mode & (file.gid === 0 ? others : groupAndOthers)) !== 0)
    return fail(what, `mode ${modeText(file.mode)} lets others write`, `chmod go-w ${file.path}`);
  if (file.uid !== 0 && file.uid !== daemon.uid)
    return warn(what, `belongs to uid ${file.uid}, who decides by it what is trusted`, `chown root: ${file.path}`);
  if (!permits(daemon, file, bits)) return fail(what, `${daemon.name} may not read it`, `chmod a+rX ${file.path}`);
  return ok(what, `mode ${modeText(file.mode)}`);
}

function judgeKeys({ builder, directory, files }: PermissionFacts['keys'][number], daemon: Account): Finding[] {
  const whole = judgeTrusted(`keys of ${builder}`, directory, daemon, reading);
  const bad = files.map((file) => judgeTrusted(`key of ${builder}`, file, daemon, access.read));
  return [whole, ...bad.filter(({ level }) => level !== 'ok')];
}

function judgeSecret(name: string, file: PathFacts, daemon: Account): Finding {
  const what = `${name} ${file.path}`;
  if (!isSeen(file)) return missing(what, file, 'make it, or mend the path in the configuration');
  if (file.kind !== 'file') return fail(what, 'is no file', 'name the file of the key');
  const owner = daemon.uid === 0 ? 'root' : daemon.name;
  if ((file.mode & 0o077) !== 0)
    return fail(what, `mode ${modeText(file.mode)} lets others read or change it`, `chmod 600 ${file.path}`);
  if (!permits(daemon, file, access.read))
    return fail(what, `${daemon.name} may not read it`, `chown ${owner}: ${file.path}`);
  if (file.uid !== daemon.uid) return warn(what, `belongs to uid ${file.uid}`, `chown ${owner}: ${file.path}`);
  return ok(what, `mode ${modeText(file.mode)}, of ${owner}`);
}

/** The daemon makes the link `public` there; the uploaders must not. */
function judgeRoot(root: PathFacts, daemon: Account): Finding {
  const what = `root ${root.path}`;
  if (!isSeen(root)) return missing(what, root, `install -d -o root -g ${daemon.name} -m 1775 ${root.path}`);
  if ((root.mode & others) !== 0)
    return fail(what, `mode ${modeText(root.mode)} lets everybody write`, `chmod o-w ${root.path}`);
  if (!permits(daemon, root, everything))
    return fail(
      what,
      `${daemon.name} may not write there, so the link public cannot be changed`,
      `chgrp ${daemon.name} ${root.path} && chmod 1775 ${root.path}`,
    );
  return ok(what, `mode ${modeText(root.mode)}`);
}

function judgeState(state: PathFacts, daemon: Account): Finding {
  const what = `state ${state.path}`;
  if (state.kind === 'absent') return ok(what, 'is not there yet: the first start makes it');
  if (!isSeen(state)) return unseen(what);
  if ((state.mode & 0o022) !== 0)
    return fail(what, `mode ${modeText(state.mode)} lets others write`, `chmod 750 ${state.path}`);
  if (!permits(daemon, state, everything))
    return fail(what, `${daemon.name} may not write there`, `chown ${daemon.name}: ${state.path}`);
  return ok(what, `mode ${modeText(state.mode)}, of ${state.uid === daemon.uid ? daemon.name : `uid ${state.uid}`}`);
}

/** ingest, quarantine, trees: nobody else may write there, or what was verified could be changed afterwards. */
function judgeOwn(directory: PathFacts, daemon: Account): Finding[] {
  if (directory.kind === 'absent') return [];
  const what = directory.path;
  if (!isSeen(directory)) return [unseen(what)];
  if ((directory.mode & 0o022) !== 0)
    return [fail(what, `mode ${modeText(directory.mode)} lets others write`, `chmod go-w ${what}`)];
  if (directory.uid !== daemon.uid)
    return [
      fail(
        what,
        `belongs to uid ${directory.uid} and not to ${daemon.name}, who keeps there what is verified`,
        `chown -R ${daemon.name}: ${what}`,
      ),
    ];
  return [ok(what, `mode ${modeText(directory.mode)}, of ${daemon.name}`)];
}

function judgeInbox(
  { builder, directory }: PermissionFacts['inboxes'][number],
  { daemon, accounts }: PermissionFacts,
): Finding {
  const what = `inbox of ${builder} ${directory.path}`;
  if (!isSeen(directory))
    return directory.kind === 'unseen'
      ? unseen(what)
      : warn(what, 'is not there, so nothing can be uploaded', 'make it: systemd/lockstepd.tmpfiles.conf shows how');
  if (directory.kind !== 'directory') return fail(what, 'is no directory', 'make it one');
  if ((directory.mode & others) !== 0)
    return fail(what, `mode ${modeText(directory.mode)} lets everybody write`, `chmod 750 ${directory.path}`);
  const owner = accountOf(accounts, directory.uid, directory.gid);
  if (!permits(daemon, directory, reading))
    return fail(
      what,
      `${daemon.name} may not read it`,
      `usermod -aG ${owner.name} ${daemon.name}, chmod 750 ${directory.path}, and restart the daemon`,
    );
  if (directory.uid === daemon.uid || directory.uid === 0)
    return warn(
      what,
      `belongs to ${owner.name} and not to an upload account of its own`,
      'give each builder an account that owns its inbox and nothing else (systemd/lockstepd.sysusers.conf)',
    );
  if ((directory.mode & 0o020) !== 0)
    return warn(what, `mode ${modeText(directory.mode)} lets its group write`, `chmod g-w ${directory.path}`);
  return ok(what, `mode ${modeText(directory.mode)}, of ${owner.name}`);
}

function judgePublic({ link, target, leads }: PublicFacts, daemon: Account): Finding {
  const what = `public ${link.path}`;
  if (link.kind === 'absent') return ok(what, 'is not there yet: the first generation makes it');
  if (!isSeen(link)) return unseen(what);
  if (target === null)
    return fail(what, 'is no link, so nothing can be published', 'lockstepd adopt takes it over, with what is in it');
  if (!/^trees\/[^/]+$/.test(target))
    return fail(what, `leads to ${target}, expected one of trees/`, 'it was changed by hand: restart the daemon');
  if (leads.kind === 'absent')
    return fail(what, `leads to ${target}, which is gone`, 'restart the daemon: it makes the tree anew');
  // rsync 3.5 ends with 3 rather than follow the link of another account than root's or its own.
  if (link.uid !== daemon.uid && link.uid !== 0)
    return warn(
      what,
      `belongs to uid ${link.uid}: rsync refuses to follow it`,
      `chown -h ${daemon.name}: ${link.path}`,
    );
  return ok(what, target);
}

function judgeDirectoryMirror(mirror: string, directory: PathFacts, daemon: Account): Finding {
  const what = `mirror ${mirror} ${directory.path}`;
  if (!isSeen(directory))
    return directory.kind === 'unseen' ? unseen(what) : warn(what, 'is not there', 'is the disk mounted?');
  return permits(daemon, directory, everything)
    ? ok(what, `${daemon.name} may write there`)
    : fail(what, `${daemon.name} may not write there`, `chown ${daemon.name}: ${directory.path}`);
}

function isSeen(file: PathFacts): file is SeenPath {
  return file.kind !== 'absent' && file.kind !== 'unseen';
}

function missing(what: string, file: PathFacts, remedy: string): Finding {
  return file.kind === 'unseen' ? unseen(what) : fail(what, 'is not there', remedy);
}
