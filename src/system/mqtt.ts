/** One connection to an MQTT broker: the only file that knows mqtt.js. It never connects again by itself and never goes without checking a certificate. */
import { errnoOf } from '../errors.ts';

export interface BrokerTarget {
  /** `mqtt://host:port` or `mqtts://host:port`. */
  readonly url: string;
  readonly clientId: string;
  readonly user: string | null;
  readonly password: string | null;
  /** PEM of the CAs that may sign the broker's certificate; null: those that Node trusts. */
  readonly ca: string | null;
}

interface BrokerMessage {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 0 | 1;
  readonly retain: boolean;
}

export interface BrokerConnection {
  /** Resolves when the message was written (QoS 0) or acknowledged by the broker (QoS 1). */
  publish(message: BrokerMessage): Promise<void>;
  /** Resolves once the connection has ended, with the reason. */
  readonly ended: Promise<Error>;
  /** Says goodbye and lets go, whether or not the broker listens. */
  close(): void;
}

/** What a broker can be wrong in, as its messages and codes tell it. */
export type BrokerFault = 'auth' | 'certificate' | 'dns' | 'refused' | 'unreachable' | 'timeout' | 'closed' | 'unknown';

const keepaliveSeconds = 30;

/**
 * Connects with MQTT 3.1.1 and a clean session. Rejects with the reason of the first failure, or with the signal's once aborted;
 * `timeoutMs` is the deadline until the broker has said yes.
 */
export async function connectBroker(
  target: BrokerTarget,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<BrokerConnection> {
  const { signal, timeoutMs } = options;
  signal.throwIfAborted();
  // Loaded only where something is announced: the daemon is small without it.
  const { connect } = await import('mqtt');
  const client = connect(target.url, {
    protocolVersion: 4,
    clean: true,
    clientId: target.clientId,
    keepalive: keepaliveSeconds,
    connectTimeout: timeoutMs,
    // Back-off and jitter are the caller's.
    reconnectPeriod: 0,
    queueQoSZero: false,
    rejectUnauthorized: true,
    ...(target.user === null ? {} : { username: target.user }),
    ...(target.password === null ? {} : { password: target.password }),
    ...(target.ca === null ? {} : { ca: target.ca }),
  });
  const ended = Promise.withResolvers<Error>();
  let last: Error | null = null;
  client.on('error', (error) => (last ??= error));
  client.on('close', () => ended.resolve(last ?? new BrokerClosed()));
  const connected = new Promise<void>((resolve) => client.once('connect', () => resolve()));
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    const failure = await Promise.race([connected, ended.promise, aborted.promise]);
    if (failure) throw failure;
  } catch (error) {
    client.end(true);
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
  return {
    publish: async ({ topic, payload, qos, retain }) => {
      const published = client.publishAsync(topic, payload, { qos, retain });
      // When the connection ends first, nobody waits for it any more.
      published.catch(() => {});
      const failure = await Promise.race([published.then(() => null), ended.promise]);
      if (failure) throw failure;
    },
    ended: ended.promise,
    close: () => {
      client.end(false);
      // The goodbye goes into the socket at once; a broker that takes nothing is not waited for.
      setImmediate(() => client.end(true));
    },
  };
}

class BrokerClosed extends Error {
  constructor() {
    super('the broker closed the connection');
    this.name = 'BrokerClosed';
  }
}

const socketFaults: Readonly<Record<string, BrokerFault>> = {
  ECONNREFUSED: 'refused',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
};

/** Codes of OpenSSL's verification, as Node names them, and of the check of the host name. */
const certificateCodes = /CERT|^UNABLE_TO_|^HOSTNAME_MISMATCH$|^INVALID_(?:CA|PURPOSE)$|^CRL_|^PATH_LENGTH_EXCEEDED$/;

/** What an error of a connection means. CONNACK return codes: MQTT 3.1.1, section 3.2.2.3. */
export function brokerFaultOf(error: unknown): BrokerFault {
  if (error instanceof BrokerClosed) return 'closed';
  if (error instanceof Error && 'code' in error && typeof error.code === 'number') {
    return error.code === 4 || error.code === 5 ? 'auth' : error.code === 3 ? 'refused' : 'unknown';
  }
  const code = errnoOf(error);
  if (code === undefined) return error instanceof Error && /timeout/i.test(error.message) ? 'timeout' : 'unknown';
  if (certificateCodes.test(code)) return 'certificate';
  return socketFaults[code] ?? (code.startsWith('E') ? 'closed' : 'unknown');
}
