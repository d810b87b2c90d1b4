/** Serves what is observed over HTTP, on TCP and on a unix socket; only the unix socket takes commands. Decides no answer itself. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { messageOf, OperationError } from '../errors.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import { escapeJson, type Log } from '../system/log.ts';
import { listenOnSocket, listenOnTcp } from './listen.ts';
import { pagePolicy, renderPage } from './page.ts';
import type { RecentHistory } from './propagation.ts';
import type { Status } from './status.ts';

/** A command of the control socket: gets the parsed JSON body (null without one), answers with a status and a JSON value. */
export type ControlHandler = (body: unknown) => Promise<{ readonly status: number; readonly body: unknown }>;

export interface ServerHandlers {
  /** The text of a scrape, in the Prometheus text format. */
  metrics(): Promise<string>;
  status(): Status;
  /** Lag over time, and the way of the last generations. */
  history(): RecentHistory;
  /** False once a loop makes no progress any more. */
  alive(): boolean;
  /** True once recovered and configured. */
  ready(): boolean;
  readonly control: ReadonlyMap<string, ControlHandler>;
}

export interface ServerOptions {
  readonly listen: { readonly host: string; readonly port: number } | null;
  /** Path of the unix socket. */
  readonly socket: string | null;
  readonly handlers: ServerHandlers;
  readonly log: Log;
  /** For the ages on the page. */
  readonly clock?: Clock;
}

export interface RunningServer {
  /** Where TCP is served; the port is the real one also when 0 was asked for. */
  readonly address: { readonly host: string; readonly port: number } | null;
  /** Takes no new connection, lets answers in hand finish for a second, then closes every connection. May be called again. */
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const bodyLimit = 64 * 1024;
const closeAfterMs = 1000;

/**
 * Starts serving. Throws OperationError `STATE` when the address or the socket is in use or cannot be made; then nothing
 * is left listening.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const servers: Server[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.map(closeServer));
  };
  try {
    let address: RunningServer['address'] = null;
    if (options.listen !== null) {
      const server = makeServer(options, 'tcp');
      servers.push(server);
      address = await listenOnTcp(server, options.listen);
    }
    if (options.socket !== null) {
      const server = makeServer(options, 'unix');
      servers.push(server);
      await listenOnSocket(server, options.socket);
    }
    for (const server of servers) {
      server.on('error', (error) => options.log.error('http_server_failed', { detail: error.message }));
    }
    return { address, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function makeServer(options: ServerOptions, via: 'tcp' | 'unix'): Server {
  const server = createServer(
    {
      maxHeaderSize: 8 * 1024,
      headersTimeout: 10_000,
      requestTimeout: 15_000,
      keepAliveTimeout: 5000,
      connectionsCheckingInterval: 2000,
    },
    (request, response) => void serve(options, via, request, response),
  );
  server.maxConnections = 100;
  return server;
}

async function serve(
  options: ServerOptions,
  via: 'tcp' | 'unix',
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // The Host header and the rest of an absolute URL are the client's word and are not looked at.
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  let answer: Answer;
  try {
    answer = await answerTo(options, via, path, request);
  } catch (error) {
    options.log.error('http_request_failed', { path, detail: messageOf(error) });
    answer = plain(500, 'internal error, see the log');
  }
  const body = Buffer.from(answer.body);
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cross-origin-resource-policy': 'same-origin',
    // A body that was not read would be taken for the next request.
    ...(request.complete ? {} : { connection: 'close' }),
    ...answer.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function answerTo(
  { handlers, clock = systemClock }: ServerOptions,
  via: 'tcp' | 'unix',
  path: string,
  request: IncomingMessage,
): Promise<Answer> {
  const action = via === 'unix' && path.startsWith('/control/') ? path.slice('/control/'.length) : null;
  if (action !== null) return control(handlers.control.get(action), request);
  const answer = pages.get(path);
  if (answer === undefined) return plain(404, 'not found');
  if (request.method !== 'GET' && request.method !== 'HEAD') return notAllowed('GET, HEAD');
  return answer(handlers, clock);
}

const pages = new Map<string, (handlers: ServerHandlers, clock: Clock) => Answer | Promise<Answer>>([
  ['/healthz', (handlers) => (handlers.alive() ? plain(200, 'ok') : plain(503, 'a loop makes no progress'))],
  ['/readyz', (handlers) => (handlers.ready() ? plain(200, 'ready') : plain(503, 'not ready yet'))],
  ['/status.json', (handlers) => json(200, handlers.status())],
  ['/history.json', (handlers) => json(200, handlers.history())],
  [
    '/metrics',
    async (handlers) => ({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      body: await handlers.metrics(),
    }),
  ],
  [
    '/',
    (handlers, clock) => ({
      status: 200,
      type: 'text/html; charset=utf-8',
      body: renderPage(handlers.status(), clock.now()),
      headers: { 'content-security-policy': pagePolicy },
    }),
  ],
]);

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

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json; charset=utf-8', body: `${escapeJson(JSON.stringify(value ?? null))}\n` };
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
