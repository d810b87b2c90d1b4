/**
 * Keeps open pages up to date by server-sent events: looks once a second what has changed while anybody listens, and sends each
 * client what changed. Costs nothing while nobody does. Decides nothing about what is on the page.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { messageOf } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { instantText } from './page-html.ts';
import { type PageModel, updateBetween } from './page-model.ts';

export interface LivePageOptions {
  /** The page as it is now. */
  readonly render: () => PageModel;
  /** Sent along, so that a browser loads a page of another edition anew. */
  readonly edition: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Clients beyond these are told what is new at once and asked to come again. */
  readonly maxClients?: number;
}

export interface VersionedPage {
  readonly model: PageModel;
  readonly version: string;
}

const lookEveryMs = 1000;
/** Looks between two signs of life, by which a client and a proxy between us see that the connection stands. */
const looksPerBeat = 15;
/** How long a browser waits before it comes again: after a lost connection, and when there were too many. */
const againMs = 2000;
const fullAgainMs = 20_000;
/** A client that takes nothing while so much waits for it is cut off; it comes again and gets the newest. */
const maxWaitingBytes = 1024 * 1024;

export class LivePage {
  readonly #options: Required<LivePageOptions>;
  readonly #clients = new Set<ServerResponse>();
  /** No version of another process is one of ours. */
  readonly #start: string;
  #newest: { readonly model: PageModel; readonly number: number } | null = null;
  #looking: AbortController | null = null;
  #closed = false;

  constructor(options: LivePageOptions) {
    this.#options = { maxClients: 32, ...options };
    this.#start = options.clock.now().toString(36);
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** The page as it is now; clients hear of what is new about it. */
  current(): VersionedPage {
    const model = this.#options.render();
    const update = this.#newest && updateBetween(this.#newest.model, model);
    if (this.#newest === null || update !== null) {
      this.#newest = { model, number: (this.#newest?.number ?? 0) + 1 };
      if (update !== null) this.#send([...this.#clients], this.#event(update));
    }
    return { model: this.#newest.model, version: this.#version };
  }

  /** Answers with events until the client leaves. What the client has by its own word decides whether it gets the whole page first. */
  serve(request: IncomingMessage, response: ServerResponse, headers: Readonly<Record<string, string>>): void {
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      // There are few connections: one that was told to come again later must not stay for another request.
      connection: 'close',
      // nginx would keep events back.
      'x-accel-buffering': 'no',
    });
    if (request.method === 'HEAD' || this.#closed) {
      response.end();
      return;
    }
    const isFull = this.#clients.size >= this.#options.maxClients;
    response.write(`retry: ${isFull ? fullAgainMs : againMs}\n\n`);
    const { model } = this.current();
    if (versionOf(request) !== this.#version) {
      const whole = updateBetween(null, model);
      if (whole) this.#send([response], this.#event(whole));
    }
    this.#send([response], this.#beat());
    if (isFull) {
      response.end();
      return;
    }
    this.#clients.add(response);
    response.on('error', () => {});
    response.on('close', () => this.#left(response));
    this.#look();
  }

  /** Ends every answer at once; the browsers come again until another daemon answers. */
  close(): void {
    this.#closed = true;
    for (const client of this.#clients) client.end();
    this.#clients.clear();
    this.#looking?.abort();
  }

  get #version(): string {
    return `${this.#start}-${this.#newest?.number ?? 0}`;
  }

  #left(client: ServerResponse): void {
    this.#clients.delete(client);
    if (this.#clients.size === 0) this.#looking?.abort();
  }

  #look(): void {
    if (this.#looking !== null) return;
    const looking = new AbortController();
    this.#looking = looking;
    this.#lookUntil(looking.signal)
      .catch((error: unknown) => {
        if (looking.signal.aborted) return;
        this.#options.log.error('page_events_failed', { detail: messageOf(error) });
        for (const client of this.#clients) client.end();
        this.#clients.clear();
      })
      .finally(() => {
        this.#looking = null;
        // Somebody may have come between the last who left and now.
        if (this.#clients.size > 0) this.#look();
      });
  }

  async #lookUntil(signal: AbortSignal): Promise<void> {
    for (let looks = 1; !signal.aborted; looks++) {
      await this.#options.clock.sleep(lookEveryMs, { signal });
      this.current();
      if (looks % looksPerBeat === 0) this.#send([...this.#clients], this.#beat());
    }
  }

  #event(update: object): string {
    return `id: ${this.#version}\nevent: page\ndata: ${JSON.stringify({ page: this.#options.edition, ...update })}\n\n`;
  }

  #beat(): string {
    return `event: now\ndata: ${instantText(new Date(this.#options.clock.now()).toISOString())}\n\n`;
  }

  #send(clients: readonly ServerResponse[], text: string): void {
    for (const client of clients) {
      if (client.writableLength > maxWaitingBytes) client.destroy();
      else client.write(text);
    }
  }
}

/** What a browser has: of the last event when it comes again, else of the page that it loaded. */
function versionOf(request: IncomingMessage): string | null {
  const last = request.headers['last-event-id'];
  if (typeof last === 'string' && last !== '') return last;
  return new URLSearchParams((request.url ?? '').split('?')[1]).get('v');
}
