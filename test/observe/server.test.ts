import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, stat, writeFile } from 'node:fs/promises';
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { OperationError } from '../../src/errors.ts';
import { type RunningServer, type ServerHandlers, startServer } from '../../src/observe/server.ts';
import { statusView } from '../../src/observe/status.ts';
import { exec } from '../../src/system/exec.ts';
import { type Log, silentLog } from '../../src/system/log.ts';
import { nowMs, statusFacts } from './facts.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const tcp = { host: '127.0.0.1', port: 0 };
/** A loopback address of this process alone: a port that was given back there is taken by nobody else. */
const ownAddress = `127.${64 + ((process.pid >> 16) & 63)}.${(process.pid >> 8) & 255}.${process.pid & 255}`;

function handlersWith(changes: Partial<ServerHandlers> = {}): ServerHandlers {
  return {
    metrics: async () => 'lockstep_published_generation 12\n',
    status: () => statusView(statusFacts(), nowMs),
    history: () => ({ version: 1, lag: [], propagation: [] }),
    checkSeconds: () => 60,
    alive: () => true,
    ready: () => true,
    control: new Map(),
    ...changes,
  };
}

interface StartOptions {
  readonly handlers?: ServerHandlers;
  readonly socket?: string | null;
  readonly listen?: typeof tcp | null;
  readonly listenPublic?: typeof tcp | null;
  readonly log?: Log;
}

async function start(t: TestContext, options: StartOptions = {}): Promise<RunningServer> {
  const { handlers = handlersWith(), socket = null, listen = tcp, listenPublic = null, log = silentLog } = options;
  const server = await startServer({ listen, listenPublic, socket, handlers, log });
  t.after(() => server.close());
  return server;
}

async function socketPath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-observe-'));
  removeAtEnd(t, directory);
  return join(directory, 'control.sock');
}

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

interface Ask {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly agent?: Agent;
}

async function ask(to: RunningServer | string, path: string, options: Ask = {}): Promise<Reply> {
  const place = typeof to === 'string' ? { socketPath: to } : { host: to.address?.host, port: to.address?.port };
  const { method = 'GET', headers, agent = new Agent(), body } = options;
  const sent = request({ ...place, path, method, headers, agent });
  sent.end(body);
  const [response] = await once(sent, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() };
}

test('each page answers GET and HEAD with its type and length, and is not cached', async (t) => {
  const server = await start(t);
  for (const [path, type] of [
    ['/', 'text/html; charset=utf-8'],
    ['/metrics', 'text/plain; version=0.0.4; charset=utf-8'],
    ['/status.json', 'application/json; charset=utf-8'],
    ['/healthz', 'text/plain; charset=utf-8'],
    ['/readyz?verbose', 'text/plain; charset=utf-8'],
  ] as const) {
    const got = await ask(server, path);
    assert.equal(got.status, 200, path);
    assert.equal(got.headers['content-type'], type);
    assert.equal(got.headers['cache-control'], 'no-store');
    assert.equal(got.headers['x-content-type-options'], 'nosniff');
    assert.match(String(got.headers['content-security-policy']), /^default-src 'none'/);
    const head = await ask(server, path, { method: 'HEAD' });
    assert.equal(head.text, '');
    assert.ok(Number(head.headers['content-length']) > 0);
  }
  assert.deepEqual(JSON.parse((await ask(server, '/status.json')).text), statusView(statusFacts(), nowMs));
  assert.match((await ask(server, '/')).text, /<h1[^>]*>The only mirror is in step<\/h1>[^]*Generation <b>12<\/b>/);
});

test('health and readiness are what the daemon says', async (t) => {
  const server = await start(t, { handlers: handlersWith({ alive: () => false, ready: () => false }) });
  assert.equal((await ask(server, '/healthz')).status, 503);
  assert.equal((await ask(server, '/readyz')).status, 503);
});

test('what is not there is 404, what is not read-only is 405', async (t) => {
  const server = await start(t);
  for (const path of ['/nothing', '/metrics/', '//evil.example/metrics', '/../metrics', '/constructor']) {
    assert.equal((await ask(server, path)).status, 404, path);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const got = await ask(server, '/metrics', { method });
    assert.equal(got.status, 405);
    assert.equal(got.headers.allow, 'GET, HEAD');
  }
});

test('the Host header changes nothing', async (t) => {
  const server = await start(t);
  const hostile = await ask(server, '/', { headers: { host: 'evil.example"><script>' } });
  assert.equal(hostile.status, 200);
  assert.doesNotMatch(hostile.text, /evil/);
});

test('a handler that fails is a 500 without details and a line in the log', async (t) => {
  const lines: unknown[] = [];
  const log: Log = { ...silentLog, error: (event, fields) => lines.push([event, fields]) };
  const handlers = handlersWith({ metrics: async () => Promise.reject(new Error('secret path /srv/x')) });
  const server = await start(t, { handlers, log });
  const got = await ask(server, '/metrics');
  assert.equal(got.status, 500);
  assert.doesNotMatch(got.text, /secret/);
  assert.deepEqual(lines, [['http_request_failed', { path: '/metrics', detail: 'secret path /srv/x' }]]);
  assert.equal((await ask(server, '/healthz')).status, 200);
});

test('commands are taken on the unix socket and never on TCP', async (t) => {
  const path = await socketPath(t);
  const bodies: unknown[] = [];
  const control = new Map([
    ['push', async (body: unknown) => ({ status: bodies.push(body) === 1 ? 202 : 200, body: { ok: true } })],
  ]);
  const server = await start(t, { handlers: handlersWith({ control }), socket: path });
  const over = await ask(server, '/control/push', { method: 'POST', body: '{"mirror":"paris"}' });
  assert.equal(over.status, 404);
  assert.deepEqual(bodies, []);

  const done = await ask(path, '/control/push', { method: 'POST', body: '{"mirror":"paris"}' });
  assert.deepEqual([done.status, done.text], [202, '{"ok":true}\n']);
  await ask(path, '/control/push', { method: 'POST' });
  assert.deepEqual(bodies, [{ mirror: 'paris' }, null]);
  assert.equal((await ask(path, '/control/push')).status, 405);
  assert.equal((await ask(path, '/control/constructor', { method: 'POST' })).status, 404);
  assert.equal((await ask(path, '/control/push', { method: 'POST', body: '{' })).status, 400);
  assert.equal((await ask(path, '/status.json')).status, 200);
  assert.equal(bodies.length, 2);
});

test('a command with a body that is too long is refused unread', async (t) => {
  const path = await socketPath(t);
  const control = new Map([['push', async () => ({ status: 200, body: 'reached' })]]);
  await start(t, { handlers: handlersWith({ control }), socket: path, listen: null });
  const got = await ask(path, '/control/push', { method: 'POST', body: `"${'x'.repeat(70_000)}"` });
  assert.equal(got.status, 413);
  assert.equal(got.headers.connection, 'close');
});

test('the socket has mode 0660 and is gone after the close', async (t) => {
  const path = await socketPath(t);
  const server = await start(t, { socket: path, listen: null });
  assert.equal(server.address, null);
  assert.equal((await stat(path)).mode & 0o777, 0o660);
  await server.close();
  await assert.rejects(stat(path), { code: 'ENOENT' });
});

test('the socket file of a killed process is taken over', async (t) => {
  const path = await socketPath(t);
  const script = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  await exec([process.execPath, '-e', script, path], { timeoutMs: 120_000 });
  assert.ok((await stat(path)).isSocket(), 'the dead process left its socket');
  await start(t, { socket: path });
  assert.equal((await ask(path, '/healthz')).status, 200);
});

test('the socket of a living process is left to it, and nothing stays open', async (t) => {
  const path = await socketPath(t);
  await start(t, { socket: path, listen: null });
  const free = await start(t, { listen: { host: ownAddress, port: 0 } });
  const listen = { host: ownAddress, port: free.address?.port ?? 0 };
  await free.close();
  await assert.rejects(startServer({ listen, socket: path, handlers: handlersWith(), log: silentLog }), (error) => {
    assert.ok(error instanceof OperationError);
    assert.match(error.message, /a running daemon answers there: stop it first/);
    return true;
  });
  assert.equal((await ask(path, '/healthz')).status, 200);
  await start(t, { listen });
});

test('a file that is no socket is not removed', async (t) => {
  const path = await socketPath(t);
  await writeFile(path, 'precious');
  await assert.rejects(start(t, { socket: path }), /another file is there: move it away/);
  assert.equal((await stat(path)).size, 8);
});

test('a port that is taken is told with what to do', async (t) => {
  const first = await start(t);
  const listen = { host: '127.0.0.1', port: first.address?.port ?? 0 };
  await assert.rejects(start(t, { listen }), /cannot listen on 127\.0\.0\.1:\d+: .*another process has it/);
});

test('connections are kept for the next request and are closed by the close', async (t) => {
  const server = await start(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  await ask(server, '/healthz', { agent });
  const idle = Object.values(agent.freeSockets).flat();
  assert.equal(idle.length, 1, 'kept');
  await server.close();
  await assert.rejects(ask(server, '/healthz'), { code: 'ECONNREFUSED' });
});

test('a client that never finishes its request does not hold up the close', async (t) => {
  const server = await start(t);
  const client = createConnection({ host: '127.0.0.1', port: server.address?.port ?? 0 });
  client.on('error', () => {});
  await once(client, 'connect');
  client.write('GET /metrics HTTP/1.1\r\nHost: x\r\n');
  await ask(server, '/healthz');
  const closed = once(client, 'close');
  await server.close();
  await closed;
});

test('headers that are too long are refused', async (t) => {
  const server = await start(t);
  const got = await ask(server, '/metrics', { headers: { 'x-long': 'x'.repeat(10_000) } });
  assert.equal(got.status, 431);
});

test('what is public is below /public/, and alone on an address of its own', async (t) => {
  const server = await start(t, { listenPublic: tcp });
  const everybody = { ...server, address: server.publicAddress };
  const paths = ['', 'status.json', 'mirrors.json', 'mirrors/status/json', 'mirrors/status/json/'];
  for (const path of paths) {
    const below = await ask(server, `/public/${path}`);
    const alone = await ask(everybody, `/${path}`);
    assert.deepEqual([below.status, alone.status], [200, 200], path);
    assert.equal(alone.headers['cache-control'], 'public, max-age=5');
    if (path !== '') assert.deepEqual(withoutTime(alone.text), withoutTime(below.text));
  }
  for (const path of ['/metrics', '/healthz', '/history.json', '/public/', '/control/push'])
    assert.equal((await ask(everybody, path)).status, 404, path);
  assert.doesNotMatch((await ask(everybody, '/')).text, /(href|src)="\//, 'a web server may show it at any path');
  const moved = await ask(server, '/public');
  assert.deepEqual([moved.status, moved.headers.location], [308, 'public/']);
  assert.equal((await ask(everybody, '/', { method: 'POST' })).status, 405);
});

function withoutTime(text: string): unknown {
  const { generated_at: _, ...rest } = JSON.parse(text) as Record<string, unknown>;
  return rest;
}

test('pages go on by events, which the close ends at once', async (t) => {
  const server = await start(t, { listenPublic: tcp });
  const everybody = { ...server, address: server.publicAddress };
  const ended: Promise<unknown>[] = [];
  for (const [to, page, events] of [
    [server, '/', '/events'],
    [server, '/public/', '/public/events'],
    [everybody, '/', '/events'],
  ] as const) {
    const version = /data-version="([^"]+)"/.exec((await ask(to, page)).text)?.[1] ?? '';
    const sent = request({ host: '127.0.0.1', port: to.address?.port, path: `${events}?v=${version}` });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    assert.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8');
    const [first] = (await once(response, 'data')) as [Buffer];
    assert.doesNotMatch(first.toString(), /event: page/, 'it has the page already');
    ended.push(once(response, 'end'));
    response.resume();
    assert.equal((await ask(to, events, { method: 'POST' })).status, 405);
    const head = await ask(to, events, { method: 'HEAD' });
    assert.deepEqual([head.status, head.text], [200, '']);
  }
  // Nothing but the pages themselves ends them: the moment in which answers in hand are cut off never comes.
  t.mock.method(AbortSignal, 'timeout', () => new AbortController().signal);
  await server.close();
  await Promise.all(ended);
});

test('an address for everybody that is taken leaves nothing listening', async (t) => {
  const first = await start(t);
  const listenPublic = { host: '127.0.0.1', port: first.address?.port ?? 0 };
  await assert.rejects(start(t, { listenPublic }), /another process has it/);
});
