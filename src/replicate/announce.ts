/**
 * Tells one MQTT broker of each generation, the newest one only, and again after each new connection what is retained there.
 *
 *                 the broker said yes             the connection ended
 *    connecting --------------------> connected ----------------------> waiting ---(back-off)---> connecting
 *        |                                                                 ^
 *        +--------------- could not connect -------------------------------+-----> blocked, when it needs a person
 */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, posix } from 'node:path';
import type { AnnounceConfig } from '../config/announce-schema.ts';
import { type FaultKind, messageOf } from '../errors.ts';
import { traceFile } from '../store/trace.ts';
import type { Lease } from '../publish/ports.ts';
import type { Store } from '../store/store.ts';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';
import { Wake } from '../system/limit.ts';
import { escapeText, type Log } from '../system/log.ts';
import {
  type BrokerConnection,
  type BrokerFault,
  type BrokerTarget,
  brokerFaultOf,
  connectBroker,
} from '../system/mqtt.ts';
import { planAnnouncements } from './announce-plan.ts';
import { delayMs } from './backoff.ts';

type AnnounceOutcome = 'ok' | 'retryable' | 'permanent';

export type AnnouncerPhase =
  | { readonly phase: 'connecting'; readonly failures: number; readonly lastError: string | null }
  | { readonly phase: 'connected' }
  | {
      readonly phase: 'waiting' | 'blocked';
      readonly untilMs: number;
      readonly failures: number;
      readonly lastError: string;
    };

export interface AnnouncerDeps {
  readonly store: Store;
  /** The newest generation, kept as it is until released. */
  readonly lease: () => Lease | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly onOutcome: (outcome: AnnounceOutcome) => void;
}

/** Deadline for connecting, and for all messages of one generation. */
const answerMs = 15_000;

const advice: Readonly<Record<BrokerFault, readonly [kind: FaultKind, advice: string]>> = {
  auth: ['permanent', 'the broker does not accept user and password, or they may not connect: check both'],
  certificate: ['security', 'the certificate of the broker cannot be trusted: check ca and the host name in url'],
  dns: ['retryable', 'the host name does not resolve: check it, and the name server'],
  refused: ['retryable', 'nothing listens there: check host and port'],
  unreachable: ['retryable', 'there is no way to the host: check the network'],
  timeout: ['retryable', 'the broker does not answer'],
  closed: ['retryable', 'the broker closed the connection: if it stays, look into its log'],
  unknown: ['retryable', 'the broker could not be told'],
};

export class Announcer {
  readonly name: string;
  readonly #config: AnnounceConfig;
  readonly #deps: AnnouncerDeps;
  readonly #wake = new Wake();
  #phase: AnnouncerPhase = { phase: 'connecting', failures: 0, lastError: null };

  constructor(config: AnnounceConfig, deps: AnnouncerDeps) {
    this.name = config.name;
    this.#config = config;
    this.#deps = deps;
  }

  get phase(): AnnouncerPhase {
    return this.#phase;
  }

  /** A new generation may be out. */
  wake(): void {
    this.#wake.wake();
  }

  /** Runs until aborted; failures of the broker are its state, never an exception. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await this.#session(signal);
      } catch (error) {
        signal.throwIfAborted();
        await this.#rest(this.#fail(error), signal);
      }
    }
  }

  /** One connection, from its beginning to its end, which is an error. */
  async #session(signal: AbortSignal): Promise<never> {
    const target = await this.#target();
    const connection = await connectBroker(target, { timeoutMs: answerMs, signal });
    try {
      this.#deps.log.info('broker_connected', { broker: this.name });
      // The broker may have forgotten what it retained, or be another one now.
      let told = false;
      for (;;) {
        if (await this.#announce(connection, !told, signal)) told = true;
        this.#phase = { phase: 'connected' };
        const woken = await this.#wake.wait(async (stop) => {
          await abortable(connection.ended, AbortSignal.any([signal, stop]));
        });
        if (!woken) throw await connection.ended;
      }
    } finally {
      connection.close();
    }
  }

  /** Tells of the newest generation if the broker does not know it, or if `anew`; false when there is none. */
  async #announce(connection: BrokerConnection, anew: boolean, signal: AbortSignal): Promise<boolean> {
    const { store, clock, log } = this.#deps;
    const lease = this.#deps.lease();
    if (!lease) return false;
    try {
      const { generation } = lease;
      const { announced } = store.brokers.get(this.name);
      const isNew = announced === null || announced < generation;
      if (!isNew && !anew) return true;
      const messages = planAnnouncements({
        primary: this.#config.primary ?? hostname(),
        topic: this.#config.topic,
        traceTopic: this.#config.traceTopic,
        qos: this.#config.qos,
        repositories: isNew ? changedSince(store, announced, generation) : [],
        trace: await readFile(join(lease.directory, traceFile), 'utf8'),
      });
      const tell = async (): Promise<void> => {
        for (const message of messages) {
          signal.throwIfAborted();
          await connection.publish(message);
        }
      };
      await within(answerMs, clock, signal, tell());
      if (isNew) {
        store.brokers.announced(this.name, generation, clock.now());
        this.#deps.onOutcome('ok');
        log.info('announced', { broker: this.name, generation, messages: messages.length });
      }
      return true;
    } finally {
      lease.release();
    }
  }

  /** Secrets are read for each connection: a file that was mended counts at the next try. */
  async #target(): Promise<BrokerTarget> {
    const { url, user, passwordFile, caFile } = this.#config;
    return {
      url,
      clientId: `lockstepd-${Math.floor(this.#deps.random() * 0x1_0000_0000).toString(36)}-${process.pid.toString(36)}`,
      user,
      password: passwordFile === null ? null : (await readOwn(passwordFile)).replace(/\r?\n$/, ''),
      ca: caFile === null ? null : await readOwn(caFile),
    };
  }

  /** Returns how long to wait. */
  #fail(error: unknown): number {
    const { clock, log, random } = this.#deps;
    const failures = 'failures' in this.#phase ? this.#phase.failures + 1 : 1;
    const failure = failureOf(error);
    const { kind, message } = failure;
    const blocked = kind === 'permanent' || kind === 'security';
    const waitMs = delayMs(failure, failures, random());
    this.#phase = {
      phase: blocked ? 'blocked' : 'waiting',
      untilMs: clock.now() + waitMs,
      failures,
      lastError: message,
    };
    this.#deps.onOutcome(blocked ? 'permanent' : 'retryable');
    log[blocked ? 'error' : 'warn'](blocked ? 'broker_blocked' : 'announce_failed', {
      broker: this.name,
      detail: message,
      next_try_seconds: Math.round(waitMs / 1000),
    });
    return waitMs;
  }

  async #rest(waitMs: number, signal: AbortSignal): Promise<void> {
    await this.#deps.clock.sleep(waitMs, { signal });
    const phase = this.#phase;
    if ('lastError' in phase)
      this.#phase = { phase: 'connecting', failures: phase.failures, lastError: phase.lastError };
  }
}

class OwnFileError extends Error {
  constructor(path: string, cause: unknown) {
    super(`${path} cannot be read: is it there, may this user read it? (${messageOf(cause)})`, { cause });
    this.name = 'OwnFileError';
  }
}

async function readOwn(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new OwnFileError(path, error);
  }
}

function failureOf(error: unknown): { readonly kind: FaultKind; readonly reason: 'unknown'; readonly message: string } {
  if (error instanceof OwnFileError)
    return { kind: 'permanent', reason: 'unknown', message: escapeText(error.message) };
  const [kind, what] = advice[brokerFaultOf(error)];
  const said = messageOf(error);
  return { kind, reason: 'unknown', message: escapeText(said === '' ? what : `${what} (${said})`) };
}

/** Paths of the repositories of which an index came, changed or left; all of them for a broker that knows none. */
function changedSince(store: Store, announced: number | null, generation: number): string[] {
  const { generations } = store;
  const changed = generations.indexesAt(generation).filter((index) => index.since > (announced ?? 0));
  const left = announced === null ? [] : generations.indexesLeft(announced, generation);
  return [...changed.map((index) => index.repository), ...left.map((path) => posix.dirname(path))].sort();
}

/** Rejects when `work` has not ended after `ms`, or once aborted. */
async function within(ms: number, clock: Clock, signal: AbortSignal, work: Promise<void>): Promise<void> {
  const done = new AbortController();
  const deadline = clock.sleep(ms, { signal: AbortSignal.any([signal, done.signal]) }).then(() => {
    throw new Error('timeout: no answer to a message');
  });
  deadline.catch(() => {});
  work.catch(() => {});
  try {
    await Promise.race([work, deadline]);
  } finally {
    done.abort();
  }
}
