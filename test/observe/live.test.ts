import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { LivePage } from '../../src/observe/live.ts';
import type { PageModel } from '../../src/observe/page-model.ts';
import { type Log, silentLog } from '../../src/system/log.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

/** A second passes, and what it leads to reaches the clients. */
async function tick(at: Place): Promise<void> {
  await at.clock.advance(1000);
  await arrived(at);
}

/** All that was written so far has come to each client that reads. */
async function arrived({ links }: Place): Promise<void> {
  for (const { response, from, to } of links) {
    const isUnderWay = (): boolean => !to.destroyed && !response.isPaused() && to.bytesRead < from.bytesWritten;
    while (isUnderWay()) await sleep(1);
  }
  // What ends, ends a turn later.
  await turn();
}

function modelOf(rows: Readonly<Record<string, string>>): PageModel {
  return {
    title: Object.keys(rows).join(),
    icon: 'data:,',
    sections: new Map([['head', '<p id="head">x</p>']]),
    rows: new Map(Object.entries(rows)),
  };
}

interface Place {
  readonly live: LivePage;
  readonly clock: VirtualClock;
  readonly port: number;
  rendered: number;
  rows: Record<string, string>;
  readonly errors: string[];
  /** The server's end of each connection, by the port of the client. */
  readonly connections: Map<number, Socket>;
  readonly links: { readonly response: IncomingMessage; readonly from: Socket; readonly to: Socket }[];
}

async function place(
  t: TestContext,
  options: { maxClients?: number; fails?: () => boolean; startMs?: number } = {},
): Promise<Place> {
  const clock = new VirtualClock(options.startMs);
  const errors: string[] = [];
  const log: Log = { ...silentLog, error: (event) => errors.push(event) };
  const render = (): PageModel => {
    if (options.fails?.() === true) throw new Error('no such table');
    self.rendered++;
    return modelOf(self.rows);
  };
  const { maxClients = 8 } = options;
  const live = new LivePage({ render, edition: 'e1', clock, log, maxClients });
  const server = createServer((asked, answer) => live.serve(asked, answer, {}));
  const connections = new Map<number, Socket>();
  server.on('connection', (socket: Socket) => connections.set(socket.remotePort ?? 0, socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    live.close();
    server.closeAllConnections();
    server.close();
  });
  const self: Place = {
    live,
    clock,
    port: (server.address() as AddressInfo).port,
    rendered: 0,
    rows: { a: '<tr id="a">1' },
    errors,
    connections,
    links: [],
  };
  return self;
}

interface Listener {
  readonly response: IncomingMessage;
  text: string;
  ended: boolean;
  leave(): Promise<void>;
}

async function listen(t: TestContext, at: Place, { v = '', last = '' } = {}): Promise<Listener> {
  const { port, live } = at;
  const asked = request({
    host: '127.0.0.1',
    port,
    path: `/events?v=${v}`,
    headers: last === '' ? {} : { 'last-event-id': last },
  });
  asked.on('error', () => {});
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const listener: Listener = {
    response,
    text: '',
    ended: false,
    leave: async () => {
      const before = live.clients;
      asked.destroy();
      while (live.clients === before) await sleep(1);
    },
  };
  response.on('data', (chunk: Buffer) => (listener.text += chunk.toString()));
  response.on('end', () => (listener.ended = true));
  response.on('error', () => {});
  t.after(() => asked.destroy());
  const from = at.connections.get(response.socket.localPort ?? 0);
  assert.ok(from);
  at.links.push({ response, from, to: response.socket });
  await arrived(at);
  return listener;
}

/** The pages that were told, as the ids of what was set. */
function told({ text }: Listener): string[][] {
  return [...text.matchAll(/^event: page\ndata: (.*)$/gm)].map((m) =>
    Object.keys((JSON.parse(m[1] ?? '') as { set: object }).set),
  );
}

test('who has the page gets nothing but what changes, in one event a second', async (t) => {
  const at = await place(t);
  const { version } = at.live.current();
  const one = await listen(t, at, { v: version });
  assert.equal(one.response.headers['content-type'], 'text/event-stream; charset=utf-8');
  assert.deepEqual(told(one), []);
  at.rows = { a: '<tr id="a">2' };
  at.rows = { a: '<tr id="a">3', b: '<tr id="b">1' };
  await tick(at);
  assert.deepEqual(told(one), [['a', 'b']], 'both changes in one');
  assert.match(one.text, /"page":"e1"/);
  await tick(at);
  assert.equal(told(one).length, 1, 'nothing new, nothing told');
});

test('who has another page, of another process for instance, gets all of it; who comes again gets what is missing', async (t) => {
  const at = await place(t);
  const stranger = await listen(t, at, { v: 'lk3j-7' });
  assert.deepEqual(told(stranger), [['head', 'a']]);
  const id = /^id: (.*)$/m.exec(stranger.text)?.[1] ?? '';
  assert.equal(id, at.live.current().version);
  assert.deepEqual(told(await listen(t, at, { v: 'lk3j-7', last: id })), [], 'its last event counts, not its page');
  const other = await place(t, { startMs: Date.UTC(2026, 10, 24) });
  assert.notEqual(other.live.current().version, id);
});

test('nothing is looked at while nobody listens, and once for all who do', async (t) => {
  const at = await place(t);
  const looks = async (): Promise<number> => {
    const before = at.rendered;
    await tick(at);
    return at.rendered - before;
  };
  assert.equal(await looks(), 0);
  const [one, two] = [await listen(t, at), await listen(t, at)];
  assert.equal(await looks(), 1);
  await one.leave();
  assert.equal(await looks(), 1);
  await two.leave();
  assert.equal(await looks(), 0);
  await listen(t, at);
  assert.equal(await looks(), 1, 'it goes on for the next');
});

test('a sign of life every 15 seconds, from which a page knows the time', async (t) => {
  const at = await place(t);
  const one = await listen(t, at, { v: at.live.current().version });
  const beats = (): number => one.text.match(/^event: now\ndata: 2026-11-23 00:00:\d\d UTC$/gm)?.length ?? 0;
  assert.equal(beats(), 1);
  for (let i = 0; i < 15; i++) await tick(at);
  assert.equal(beats(), 2);
});

test('one client too many is told what is new and asked to come again', async (t) => {
  const at = await place(t, { maxClients: 2 });
  await listen(t, at);
  await listen(t, at);
  const third = await listen(t, at);
  assert.deepEqual([third.ended, told(third), at.live.clients], [true, [['head', 'a']], 2]);
  assert.match(third.text, /^retry: 20000$/m);
  assert.equal(third.response.headers.connection, 'close', 'its connection is free for somebody else');
});

test('the close ends every answer at once, and later ones', async (t) => {
  const at = await place(t);
  const one = await listen(t, at);
  at.live.close();
  await arrived(at);
  assert.equal(one.ended, true);
  assert.equal((await listen(t, at)).ended, true);
});

test('a client that takes nothing is cut off before much waits for it', async (t) => {
  const at = await place(t);
  const slow = await listen(t, at);
  const quick = await listen(t, at);
  slow.response.pause();
  for (let i = 0; i < 40 && at.live.clients === 2; i++) {
    at.rows = { a: `<tr id="a">${i}${'x'.repeat(500_000)}` };
    await tick(at);
  }
  assert.equal(at.live.clients, 1);
  assert.equal(quick.ended, false);
});

test('a page that cannot be made is told in the log once, and the clients come again', async (t) => {
  let fails = false;
  const at = await place(t, { fails: () => fails });
  const one = await listen(t, at);
  fails = true;
  await tick(at);
  await tick(at);
  assert.deepEqual([one.ended, at.errors], [true, ['page_events_failed']]);
  fails = false;
  assert.deepEqual(told(await listen(t, at)), [['head', 'a']]);
});
