/** Fetches each index of a mirror over HTTP, conditionally, and tells its SHA-256. Decides nothing about lag and schedules nothing. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { errnoOf, messageOf } from '../errors.ts';
import type { Clock } from '../system/clock.ts';

export interface ProbeTarget {
  readonly mirror: string;
  /** Where the mirror serves its tree: http or https, with or without a final `/`. */
  readonly url: string;
  /** Relative paths of the indexes to look at. */
  readonly indexes: readonly string[];
}

/** What a mirror answered when asked for one index; `failed` is one line for the operator. */
export type IndexProbe = { readonly sha256: string } | { readonly absent: true } | { readonly failed: string };

export interface ProbeResult {
  readonly indexes: ReadonlyMap<string, IndexProbe>;
  /** True when every index was answered; an index that is absent is an answer. */
  readonly success: boolean;
  readonly durationSeconds: number;
  /** The mirror's clock minus ours, as precise as its whole-second Date header; null when it sent none. */
  readonly clockSkewSeconds: number | null;
}

export interface ProberOptions {
  /** Our version, for the User-Agent. */
  readonly version: string;
  readonly clock: Clock;
  /** Deadline of one index, redirects included; default 20 s. */
  readonly timeoutMs?: number;
  /** The largest index that is read; default 64 MiB. */
  readonly maxBytes?: number;
}

/** What lets the next request be conditional, and the digest that a 304 stands for. */
interface Remembered {
  readonly url: string;
  readonly sha256: string;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  readonly notModified: number;
}

interface Session {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
  readonly signal: AbortSignal;
  skewSeconds: number | null;
}

const indexesAtATime = 4;
const maxRedirects = 3;
// A server may answer 304 to an index that went back in time (If-Modified-Since compares dates, weak tags compare size
// and second). After so many in a row the index is fetched whole.
const maxNotModified = 10;

/** Probes mirrors; keeps, per mirror and index, what a conditional request needs. */
export class Prober {
  readonly #options: Required<ProberOptions>;
  readonly #remembered = new Map<string, Map<string, Remembered>>();

  constructor(options: ProberOptions) {
    this.#options = { timeoutMs: 20_000, maxBytes: 64 * 1024 * 1024, ...options };
  }

  /**
   * Looks at every index of the target, four at a time. What goes wrong at the mirror is in the result; rejects only
   * with the signal's reason once aborted.
   */
  async probe(target: ProbeTarget, options: { readonly signal: AbortSignal }): Promise<ProbeResult> {
    options.signal.throwIfAborted();
    const started = this.#options.clock.monotonic();
    const http = new HttpAgent({ keepAlive: true, maxSockets: indexesAtATime });
    const https = new HttpsAgent({ keepAlive: true, maxSockets: indexesAtATime });
    const session: Session = { http, https, signal: options.signal, skewSeconds: null };
    const before = this.#remembered.get(target.mirror) ?? new Map<string, Remembered>();
    const after = new Map<string, Remembered>();
    const indexes = new Map<string, IndexProbe>();
    const queue = target.indexes.values();
    const work = async (): Promise<void> => {
      for (const path of queue) {
        const { answer, remember } = await this.#probeIndex(indexUrl(target.url, path), before.get(path), session);
        indexes.set(path, answer);
        if (remember) after.set(path, remember);
      }
    };
    try {
      await Promise.all(Array.from({ length: indexesAtATime }, work));
    } finally {
      http.destroy();
      https.destroy();
    }
    this.#remembered.set(target.mirror, after);
    return {
      indexes,
      success: [...indexes.values()].every((answer) => !('failed' in answer)),
      durationSeconds: (this.#options.clock.monotonic() - started) / 1000,
      clockSkewSeconds: session.skewSeconds,
    };
  }

  /** One file of the mirror, at most `maxBytes` long; null when it is absent or there is no answer. */
  async read(
    base: string,
    path: string,
    options: { readonly maxBytes: number; readonly signal: AbortSignal },
  ): Promise<Buffer | null> {
    const url = indexUrl(base, path);
    if (url === null) return null;
    const [http, https] = [new HttpAgent(), new HttpsAgent()];
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(this.#options.timeoutMs)]);
    try {
      const response = await this.#get(url, undefined, { http, https, signal, skewSeconds: null }, signal);
      if (response.statusCode !== 200) return null;
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > options.maxBytes) return null;
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    } catch {
      // What goes wrong at the mirror is no answer.
      options.signal.throwIfAborted();
      return null;
    } finally {
      http.destroy();
      https.destroy();
    }
  }

  async #probeIndex(
    url: URL | null,
    known: Remembered | undefined,
    session: Session,
  ): Promise<{ answer: IndexProbe; remember?: Remembered | undefined }> {
    session.signal.throwIfAborted();
    if (url === null) return { answer: { failed: 'the mirror has no usable URL: expected http:// or https://' } };
    const usable = known?.url === url.href && known.notModified < maxNotModified ? known : undefined;
    const deadline = AbortSignal.timeout(this.#options.timeoutMs);
    const signal = AbortSignal.any([session.signal, deadline]);
    try {
      const response = await this.#get(url, usable, session, signal);
      return await this.#answerOf(response, url, usable, signal);
    } catch (error) {
      session.signal.throwIfAborted();
      const failed = deadline.aborted ? `no answer within ${this.#options.timeoutMs / 1000} s` : describe(error);
      return { answer: { failed }, remember: known };
    }
  }

  /** The first response that is no redirect. */
  async #get(
    from: URL,
    known: Remembered | undefined,
    session: Session,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    let url = from;
    for (let redirects = 0; ; redirects++) {
      const response = await this.#send(url, known, session, signal);
      session.skewSeconds ??= skewOf(response, this.#options.clock.now());
      if (!isRedirect(response)) return response;
      response.destroy();
      if (redirects === maxRedirects) throw new Error(`redirected more than ${maxRedirects} times`);
      const next = URL.parse(response.headers.location ?? '', url.href);
      if (next === null || !isHttp(next)) throw new Error('redirected to something that is not http or https');
      url = next;
    }
  }

  async #send(
    url: URL,
    known: Remembered | undefined,
    session: Session,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const headers: Record<string, string> = {
      'user-agent': `lockstepd/${this.#options.version}`,
      'accept-encoding': 'identity',
      'cache-control': 'no-cache',
    };
    if (known?.etag !== undefined) headers['if-none-match'] = known.etag;
    else if (known?.lastModified !== undefined) headers['if-modified-since'] = known.lastModified;
    const request =
      url.protocol === 'https:'
        ? httpsRequest(url, { agent: session.https, headers, signal, maxHeaderSize: 16_384 })
        : httpRequest(url, { agent: session.http, headers, signal, maxHeaderSize: 16_384 });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    // After the response an abort or a cut shows in the body; the request then has nobody else to tell.
    request.on('error', () => {});
    return response;
  }

  async #answerOf(
    response: IncomingMessage,
    url: URL,
    known: Remembered | undefined,
    signal: AbortSignal,
  ): Promise<{ answer: IndexProbe; remember?: Remembered }> {
    const code = response.statusCode ?? 0;
    if (code === 200) {
      const sha256 = await digestOf(response, this.#options.maxBytes, signal);
      const { etag, 'last-modified': lastModified } = response.headers;
      return { answer: { sha256 }, remember: { url: url.href, sha256, etag, lastModified, notModified: 0 } };
    }
    if (code === 304 && known) {
      response.resume();
      return { answer: { sha256: known.sha256 }, remember: { ...known, notModified: known.notModified + 1 } };
    }
    response.destroy();
    if (code === 404 || code === 410) return { answer: { absent: true } };
    throw new Error(`HTTP status ${code}`);
  }
}

/** Hashes a body as it comes; throws when it is longer than `maxBytes` or, by the stream, cut short. */
async function digestOf(response: IncomingMessage, maxBytes: number, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    length += chunk.length;
    if (length > maxBytes) throw new Error(`the index is longer than ${maxBytes} bytes`);
    hash.update(chunk);
  }
  return hash.digest('hex');
}

function indexUrl(base: string, index: string): URL | null {
  const path = index.split('/').map(encodeURIComponent).join('/');
  const url = URL.parse(path, base.endsWith('/') ? base : `${base}/`);
  return url !== null && isHttp(url) ? url : null;
}

function isHttp(url: URL): boolean {
  return url.protocol === 'http:' || url.protocol === 'https:';
}

function isRedirect(response: IncomingMessage): boolean {
  return [301, 302, 303, 307, 308].includes(response.statusCode ?? 0);
}

// An answer out of a cache (Age) bears the date of when it was cached, which says nothing about a clock.
function skewOf(response: IncomingMessage, nowMs: number): number | null {
  const date = Date.parse(response.headers.date ?? '');
  return Number.isNaN(date) || response.headers.age !== undefined ? null : Math.round((date - nowMs) / 1000);
}

// Messages of Node about names and certificates are short; the cut guards against one that quotes the server at length.
function describe(error: unknown): string {
  const code = errnoOf(error);
  const message = messageOf(error) || 'the connection failed';
  return (code === undefined || message.includes(code) ? message : `${code}: ${message}`).slice(0, 200);
}
