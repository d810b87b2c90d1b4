/** Serves what is observed over HTTP, on TCP and on a unix socket; only the unix socket takes commands. Decides no answer itself. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { messageOf, OperationError } from '../errors.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { LivePage } from './live.ts';
import { listenOnSocket, listenOnTcp } from './listen.ts';
import { type Answer, json, operatorPages, type PageSources, publicPages } from './web-pages.ts';

/** A command of the control socket: gets the parsed JSON body (null without one), answers with a status and a JSON value. */
export type ControlHandler = (body: unknown) => Promise<{ readonly status: number; readonly body: unknown }>;

export interface ServerHandlers extends PageSources {
  /** The text of a scrape, in the Prometheus text format. */
  metrics(): Promise<string>;
  /** False once a loop makes no progress any more. */
  alive(): boolean;
  /** True once recovered and configured. */
  ready(): boolean;
  readonly control: ReadonlyMap<string, ControlHandler>;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** For the log; nothing for none. */
export function addressText(address: Address | null): string | undefined {
  return address === null ? undefined : `${address.host}:${address.port}`;
}

export interface ServerOptions {
  readonly listen: Address | null;
  /** Where only what is public is served; null or absent: nowhere. */
  readonly listenPublic?: Address | null;
  /** Path of the unix socket. */
  readonly socket: string | null;
  readonly handlers: ServerHandlers;
  readonly log: Log;
  /** For the ages on the page. */
  readonly clock?: Clock;
}

export interface RunningServer {
  /** Where TCP is served; the port is the real one also when 0 was asked for. */
  readonly address: Address | null;
  readonly publicAddress: Address | null;
  /**
   * Takes no new connection, ends live pages, lets answers in hand finish for a second, then closes every connection. May be called
   * again.
   */
  close(): Promise<void>;
}

/** What one listener answers. */
interface Site {
  readonly pages: ReadonlyMap<string, () => Answer | Promise<Answer>>;
  readonly events: ReadonlyMap<string, LivePage>;
  /** Only on the unix socket. */
  readonly control: ServerHandlers['control'] | null;
}

const bodyLimit = 64 * 1024;
const closeAfterMs = 1000;

/**
 * Starts serving. Throws OperationError `STATE` when the address or the socket is in use or cannot be made; then nothing
 * is left listening.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { listen, listenPublic = null, socket, handlers } = options;
  const servers: Server[] = [];
  const { own, everybody } = sitesOf(options);
  const close = async (): Promise<void> => {
    for (const live of own.events.values()) live.close();
    for (const live of everybody.events.values()) live.close();
    await Promise.all(servers.map(closeServer));
  };
  const start = (site: Site): Server => {
    const server = makeServer(options, site);
    servers.push(server);
    return server;
  };
  try {
    const address = listen && (await listenOnTcp(start(own), listen));
    const publicAddress = listenPublic && (await listenOnTcp(start(everybody), listenPublic));
    if (socket !== null) await listenOnSocket(start({ ...own, control: handlers.control }), socket);
    for (const server of servers) {
      server.on('error', (error) => options.log.error('http_server_failed', { detail: error.message }));
    }
    return { address, publicAddress, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What is for operators, which has what is public as well; and what is for everybody. */
function sitesOf({ handlers, clock = systemClock, log }: ServerOptions): { own: Site; everybody: Site } {
  const deps = { sources: handlers, clock, log };
  const operator = operatorPages(deps);
  const shown = publicPages(deps, '/public/');
  const pages = new Map<string, () => Answer | Promise<Answer>>([
    ['/healthz', () => (handlers.alive() ? plain(200, 'ok') : plain(503, 'a loop makes no progress'))],
    ['/readyz', () => (handlers.ready() ? plain(200, 'ready') : plain(503, 'not ready yet'))],
    ['/status.json', () => json(200, handlers.status())],
    ['/history.json', () => json(200, handlers.history())],
    [
      '/metrics',
      async () => ({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: await handlers.metrics() }),
    ],
    ['/public', () => ({ ...plain(308, 'see public/'), headers: { location: 'public/' } })],
    ...operator.pages,
    ...shown.pages,
  ]);
  return {
    own: { pages, events: new Map([...operator.events, ...shown.events]), control: null },
    everybody: { ...publicPages(deps, '/'), control: null },
  };
}

function makeServer(options: ServerOptions, site: Site): Server {
  const server = createServer(
    {
      maxHeaderSize: 8 * 1024,
      headersTimeout: 10_000,
      requestTimeout: 15_000,
      keepAliveTimeout: 5000,
      connectionsCheckingInterval: 2000,
    },
    (request, response) => void serve(options, site, request, response),
  );
  server.maxConnections = 100;
  return server;
}

const commonHeaders = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
};

async function serve(
  options: ServerOptions,
  site: Site,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // The Host header and the rest of an absolute URL are the client's word and are not looked at.
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  let answer: Answer;
  try {
    const live = isReading(request) ? site.events.get(path) : undefined;
    if (live) return live.serve(request, response, commonHeaders);
    answer = await answerTo(site, path, request);
  } catch (error) {
    options.log.error('http_request_failed', { path, detail: messageOf(error) });
    if (response.headersSent) return void response.destroy();
    answer = plain(500, 'internal error, see the log');
  }
  const body = Buffer.from(answer.body);
  response.writeHead(answer.status, {
    ...commonHeaders,
    'content-type': answer.type,
    'content-length': body.length,
    // A body that was not read would be taken for the next request.
    ...(request.complete ? {} : { connection: 'close' }),
    ...answer.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function answerTo(site: Site, path: string, request: IncomingMessage): Promise<Answer> {
  const action = site.control && path.startsWith('/control/') ? path.slice('/control/'.length) : null;
  if (action !== null) return control(site.control?.get(action), request);
  const answer = site.pages.get(path);
  if (answer === undefined && !site.events.has(path)) return plain(404, 'not found');
  if (answer === undefined || !isReading(request)) return notAllowed('GET, HEAD');
  return answer();
}

function isReading({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD';
}

async function control(handler: ControlHandler | undefined, request: IncomingMessage): Promise<Answer> {
  if (handler === undefined) return json(404, { error: 'no such command; is the daemon older than this client?' });
  if (request.method !== 'POST') return notAllowed('POST');
  const text = await bodyOf(request);
  if (text === null) return json(413, { error: `the request is longer than ${bodyLimit} bytes` });
  let body: unknown;
  try {
    body = text === '' ? null : JSON.parse(text);
  } catch (error) {
    return json(400, { error: `the request is not JSON: ${messageOf(error)}` });
  }
  const { status, body: result } = await handler(body);
  return json(status, result);
}

/** The request's body as text; null when it is too long. */
async function bodyOf(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bodyLimit) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function plain(status: number, text: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${text}\n` };
}

function notAllowed(allow: string): Answer {
  return { ...plain(405, `only ${allow}`), headers: { allow } };
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((resolve, reject) => {
    server.close((error) => (error ? reject(new OperationError('STATE', error.message)) : resolve()));
  });
  const deadline = AbortSignal.timeout(closeAfterMs);
  deadline.addEventListener('abort', () => server.closeAllConnections());
  await closed;
}
