/** Looks at everything that doctor looks at, in the order in which it is told: facts first, then what they mean. Changes nothing. */
import type { Config } from '../../config/schema.ts';
import type { Clock } from '../../system/clock.ts';
import { readKeyring } from '../../trust/keyring.ts';
import type { Account } from './accounts.ts';
import { judgeDisks } from './disks.ts';
import { type Finding, type FindingGroup, ok, unseen, warn } from './finding.ts';
import { judgeClock, judgeLimits } from './limits.ts';
import type { Machine } from './machine.ts';
import { daemonPid, gatherClock, gatherDisks, gatherLimits, gatherPrograms } from './machine-facts.ts';
import { judgeMirrors, judgeSkews, type Online } from './online.ts';
import { gatherOnline } from './online-facts.ts';
import { daemonAccount, gatherAccounts, gatherPermissions, gatherUploads } from './path-facts.ts';
import { judgePermissions } from './permissions.ts';
import { judgePrograms } from './programs.ts';
import { judgeService } from './service.ts';
import { gatherService, gatherSystemd, unitText } from './service-facts.ts';
import { judgeUpload } from './sshd.ts';
import { judgeTrustedKeys } from './trusted-keys.ts';

export interface Examination {
  readonly config: Config;
  readonly machine: Machine;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Rejects only with the signal's reason once aborted. */
export async function examine({ config, machine, clock, signal }: Examination): Promise<FindingGroup[]> {
  const trying = gatherOnline(config, { clock, signal });
  // What is awaited last may fail first.
  trying.catch(() => {});
  const systemd = await gatherSystemd(machine);
  const unit = unitText(systemd);
  const pid = await daemonPid(machine, config.state);
  const accounts = await gatherAccounts(machine);
  const daemon = await daemonAccount(machine, { accounts, state: config.state, pid, unit });
  const stranger = machine.uid !== 0 && machine.uid !== daemon.uid;
  const uploads = await gatherUploads(machine, config, { accounts, daemon });
  const programs = judgePrograms(await gatherPrograms(machine, config, uploads.length > 0));
  const disks = judgeDisks(await gatherDisks(machine, config));
  const clockFinding = judgeClock(await gatherClock(machine));
  const service = judgeService(await gatherService(machine, config, systemd));
  const keys = await examineKeys(config, clock.now(), stranger);
  const online = await trying;
  const repositories = online.published?.indexes.size ?? 0;
  const limits = judgeLimits(await gatherLimits(machine, { config, repositories, pid, unit }));
  const permissions = judgePermissions(
    await gatherPermissions(machine, config, { accounts, daemon, skip: silentMirrors(online) }),
  );
  return [
    { title: 'programs', findings: programs },
    { title: 'service', findings: [judgeAccount(daemon), ...service] },
    { title: 'limits', findings: limits },
    { title: 'clock', findings: [clockFinding, ...skewFindings(online)] },
    { title: 'disks', findings: disks },
    { title: 'owners and modes', findings: permissions },
    { title: 'signing keys', findings: keys },
    { title: 'uploads', findings: uploads.flatMap(judgeUpload) },
    { title: 'mirrors', findings: judgeMirrors(online, stranger) },
  ].filter(({ findings }) => findings.length > 0);
}

function skewFindings({ mirrors }: Online): Finding[] {
  const withUrl = mirrors.filter(({ url }) => url !== null);
  if (withUrl.length === 0) return [];
  return [judgeSkews(withUrl.flatMap(({ url }) => (url?.clockSkewSeconds == null ? [] : [url.clockSkewSeconds])))];
}

/** A directory that did not answer in time would hang the next look at it too. */
function silentMirrors({ mirrors }: Online): Set<string> {
  const silent = mirrors.filter(({ account }) => 'reason' in account && account.reason === 'timeout');
  return new Set(silent.map(({ mirror }) => mirror.name));
}

async function examineKeys({ inboxes }: Config, nowMs: number, stranger: boolean): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const { builder, keys: sources, signatureAlgorithms } of inboxes) {
    const { keyring, faults } = await readKeyring(sources, signatureAlgorithms);
    // Whether the daemon may read them is a finding about owners and modes.
    const closed = stranger && faults.some(({ message }) => message.includes('EACCES'));
    if (closed) {
      found.push(unseen(`signing keys of ${builder}`));
      continue;
    }
    const keys = keyring.keys.map((key) => ({ ...key, path: key.path ?? key.name }));
    found.push(...judgeTrustedKeys({ builder, keys, faults }, nowMs));
  }
  return found;
}

function judgeAccount({ name, uid }: Account): Finding {
  if (uid !== 0) return ok('account of the daemon', name);
  return warn(
    'account of the daemon',
    'root, whom no mode of a file stops',
    'run it as an account of its own: systemd/lockstepd.service and lockstepd.sysusers.conf do',
  );
}
