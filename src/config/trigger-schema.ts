/** What a configuration says about mirrors that pull: whom we tell to pull by a command, and those that we only look at. */
import { duration, pattern } from './fields.ts';

/** A mirror that pulls when a command is run there. */
export interface TriggerTransportConfig {
  readonly type: 'trigger';
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** File of the private key. */
  readonly identity: string;
  /** One of these SHA-256 fingerprints must be the server's. */
  readonly hostKeys: readonly string[];
  readonly stallMs: number;
  /** What is asked for; a forced command runs its own instead. */
  readonly command: string;
  /** The mirror is not told again earlier. */
  readonly minIntervalMs: number;
}

/** A mirror that pulls when it likes. */
export interface PullTransportConfig {
  readonly type: 'pull';
}

/** The keys of a trigger beside those of every account. */
export const triggerFields = {
  command: pattern('one line of at most 1000 characters in ASCII', /^[\x20-\x7e]{1,1000}$/).prefault('lockstep-pull'),
  min_interval: duration('1s', '1d').prefault('10s'),
};

/** Why a mirror of that type cannot do without a URL, null when it can. */
export function needsUrl(type: string): string | null {
  return type === 'trigger' || type === 'pull'
    ? `missing, expected the URL of the mirror: what one of type ${type} holds is only known from what it serves`
    : null;
}
