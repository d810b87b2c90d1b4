/** Whether the limits of the system leave room for what the daemon watches and opens, and whether its clock is set. Pure. */
import { fail, type Finding, ok, warn } from './finding.ts';

export interface LimitFacts {
  /** Of /proc/sys/fs/inotify; null: cannot be read. */
  readonly maxWatches: number | null;
  readonly maxInstances: number | null;
  /** Hard limit of open files of the daemon when it runs, else of a service by its unit, else of this process. */
  readonly openFiles: { readonly limit: number; readonly of: 'the daemon' | 'the unit' | 'this process' } | null;
  readonly published: { readonly repositories: number };
  readonly inboxes: number;
  readonly mirrors: number;
}

/** An index is watched with its directory and those above it up to the inbox. */
const watchesPerRepository = 6;
const watchesPerInbox = 4;
/** Other programs of the same user have some, and repositories come. */
const spareWatches = 1024;
const fewestInstances = 16;
/** Of the daemon itself: database, logs, sockets, workers. */
const ownFiles = 256;
/** A connection, its channels, probes and the files under way to it. */
const filesPerMirror = 32;

export function judgeLimits(facts: LimitFacts): Finding[] {
  const watches = facts.published.repositories * watchesPerRepository + facts.inboxes * watchesPerInbox + spareWatches;
  const files = ownFiles + facts.mirrors * filesPerMirror;
  return [
    judgeLimit('inotify watches', facts.maxWatches, watches, 'fs.inotify.max_user_watches'),
    judgeLimit('inotify instances', facts.maxInstances, fewestInstances, 'fs.inotify.max_user_instances'),
    judgeFiles(facts.openFiles, files),
  ];
}

function judgeLimit(what: string, limit: number | null, need: number, key: string): Finding {
  if (limit === null) return warn(what, `${key} cannot be read`, `look at it yourself: sysctl ${key}`);
  if (limit >= need) return ok(what, `${limit} may be had, about ${need} may be needed`);
  // Without a watch the rescan still finds what changed, only later.
  const wanted = 2 ** Math.ceil(Math.log2(need * 2));
  return warn(
    what,
    `${limit} may be had, about ${need} may be needed: changes are then seen only by the rescan`,
    `sysctl -w ${key}=${wanted}, and the same in /etc/sysctl.d/lockstepd.conf`,
  );
}

function judgeFiles(openFiles: LimitFacts['openFiles'], need: number): Finding {
  const what = 'open files';
  if (openFiles === null) return warn(what, 'the limit cannot be read', 'look at it yourself: ulimit -Hn');
  const { limit, of } = openFiles;
  if (limit >= need) return ok(what, `${of} may have ${limit}, about ${need} may be needed`);
  return fail(
    what,
    `${of} may have ${limit}, about ${need} may be needed`,
    'raise LimitNOFILE= of the unit (systemctl edit lockstepd), or ulimit -n',
  );
}

export interface ClockFacts {
  /** What the keeper of the clock says, by the name of who was asked; null: nobody was there to ask. */
  readonly synchronized: { readonly by: string; readonly value: boolean } | null;
}

export function judgeClock({ synchronized }: ClockFacts): Finding {
  const what = 'clock';
  if (synchronized === null)
    return warn(
      what,
      'nothing tells whether it is set by the network',
      'install systemd-timesyncd or chrony: ages, grace and the validity of keys are counted by it',
    );
  const { by, value } = synchronized;
  if (value) return ok(what, `set by the network (${by})`);
  return warn(
    what,
    `not set by the network (${by})`,
    'timedatectl set-ntp true, and see whether a firewall drops NTP (UDP port 123)',
  );
}
