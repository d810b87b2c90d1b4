/** What trying mirrors and fetching from their URLs says: a pure judgement, one finding for each account and each URL. */
import type { MirrorConfig, TransportConfig } from '../../config/mirror-schema.ts';
import type { PushFailureReason } from '../../errors.ts';
import type { IndexProbe } from '../../observe/probe.ts';
import type { Trace } from '../../store/trace.ts';
import { fail, type Finding, ok, warn } from './finding.ts';

/** How the way into a mirror went. */
export type AccountFacts =
  | { readonly worked: string; readonly doubts: readonly { readonly found: string; readonly remedy: string }[] }
  | { readonly reason: PushFailureReason; readonly message: string };

export interface UrlFacts {
  /** An index that we publish and that the mirror takes; null before the first one. */
  readonly index: { readonly path: string; readonly sha256: string; readonly answer: IndexProbe } | null;
  readonly trace: IndexProbe;
  /** The generation of its trace; null: none can be read. */
  readonly generation: number | null;
  /** The mirror's clock minus ours. */
  readonly clockSkewSeconds: number | null;
}

export interface OnlineFacts {
  readonly mirror: MirrorConfig;
  readonly account: AccountFacts;
  /** Null where the mirror has no URL. */
  readonly url: UrlFacts | null;
}

export interface Online {
  /** In the order of the configuration. */
  readonly mirrors: readonly OnlineFacts[];
  /** The trace of what we serve; null before the first generation. */
  readonly published: Trace | null;
}

/** More than this between two clocks that are set is no delay of an answer. */
const allowedSkewSeconds = 60;

/**
 * What trying every mirror and fetching from every URL says. `stranger`: who tried is neither root nor the daemon, so files
 * that are closed to them prove nothing.
 */
export function judgeMirrors({ mirrors, published }: Online, stranger = false): Finding[] {
  return mirrors.flatMap(({ mirror, account, url }) => [
    ...judgeAccount(mirror, account, stranger),
    ...(url === null ? [] : judgeUrl(mirror, url, published?.generation ?? null)),
  ]);
}

function judgeAccount({ name, transport }: MirrorConfig, account: AccountFacts, stranger: boolean): Finding[] {
  const what = `mirror ${name} (${placeText(transport)})`;
  if ('message' in account) {
    const closed = account.reason === 'local' || (transport.type === 'directory' && account.reason === 'permission');
    if (stranger && closed) return [warn(what, account.message, 'this user is not the daemon: try again as root')];
    // We were let in, or there would be no lock of rrsync to meet.
    const judge = account.reason === 'busy' ? warn : fail;
    return [judge(what, account.reason, account.message)];
  }
  return [ok(what, account.worked), ...account.doubts.map(({ found, remedy }) => warn(what, found, remedy))];
}

function judgeUrl({ name, url }: MirrorConfig, facts: UrlFacts, published: number | null): Finding[] {
  const what = `mirror ${name}, ${url}`;
  return [judgeAnswers(what, facts, published), ...judgeSkew(what, facts.clockSkewSeconds)];
}

function judgeAnswers(what: string, { index, trace, generation }: UrlFacts, published: number | null): Finding {
  const failed = [index?.answer, trace].find((answer) => answer !== undefined && 'failed' in answer);
  if (failed && 'failed' in failed) return fail(what, `no usable answer: ${failed.failed}`, urlRemedy(failed.failed));
  const serves = generation === null ? '' : `generation ${generation}`;
  if (index === null || published === null)
    return ok(what, `answers; nothing is published here yet${serves === '' ? '' : `, it serves ${serves}`}`);
  if ('absent' in index.answer)
    return warn(
      what,
      `answers, and has no ${index.path}`,
      'is url the directory that is pushed to? A mirror that was never pushed to has none yet',
    );
  if ('sha256' in index.answer && index.answer.sha256 !== index.sha256)
    return warn(
      what,
      `its ${index.path} is another one than ours (it serves ${serves || 'an unknown generation'}, we ${published})`,
      'see lockstepd status: it is behind, or somebody else writes there',
    );
  if ('absent' in trace)
    return warn(
      what,
      'serves our index, but no lockstep.json',
      'let it take that file too: it tells people and tools which generation they get',
    );
  return ok(what, `serves ${serves || 'our index'}`);
}

function judgeSkew(what: string, skew: number | null): Finding[] {
  if (skew === null || Math.abs(skew) <= allowedSkewSeconds) return [];
  const found = `its clock is ${Math.abs(skew)} s ${skew > 0 ? 'ahead of' : 'behind'} ours`;
  return [warn(what, found, 'one of the two is wrong: see the finding about our clock, else tell its admin')];
}

/** What is said of the clocks of all mirrors together: when several agree that ours is off, it is. */
export function judgeSkews(skews: readonly number[]): Finding {
  const what = 'clock against mirrors';
  const sorted = skews.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  if (median === undefined) return ok(what, 'no mirror has told its time');
  const agree = sorted.filter((skew) => Math.abs(skew - median) <= allowedSkewSeconds / 2).length;
  if (Math.abs(median) > allowedSkewSeconds && agree >= 2 && agree * 2 > sorted.length)
    return fail(
      what,
      `ours is ${Math.abs(median)} s ${median > 0 ? 'behind' : 'ahead of'} what ${agree} of ${sorted.length} mirrors say`,
      'set it: timedatectl set-ntp true, or install chrony',
    );
  return ok(what, `${sorted.length} of them told their time, the one in the middle differs by ${Math.abs(median)} s`);
}

/** What to do about a GET that failed, by the words of Node. */
function urlRemedy(failed: string): string {
  if (/ENOTFOUND|EAI_AGAIN/.test(failed)) return 'the host name does not resolve: check url, and the name server';
  if (/ECONNREFUSED/.test(failed)) return 'does its web server run, is the port of url right?';
  if (/EHOSTUNREACH|ENETUNREACH/.test(failed)) return 'there is no way to the host: check the network';
  if (/CERT|certificate|SSL|TLS/i.test(failed)) return 'its certificate cannot be trusted: its admin must renew it';
  if (/HTTP status (?:401|403)/.test(failed)) return 'its web server lets nobody read there: its admin must allow it';
  if (/HTTP status/.test(failed)) return 'its admin must look into the log of the web server';
  return 'check url by hand: curl -I, then ask its admin';
}

/** Where a mirror is, short enough for the beginning of a line. */
function placeText(transport: TransportConfig): string {
  switch (transport.type) {
    case 'directory':
      return `directory ${transport.path}`;
    case 'rclone':
      return `rclone ${transport.remote}`;
    case 'pull':
      return 'pull';
    case 'rsync':
    case 'sftp':
    case 'trigger':
      return `${transport.type} ${transport.user}@${transport.host}:${transport.port}`;
    default:
      return transport satisfies never;
  }
}
