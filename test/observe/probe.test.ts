import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import test, { type TestContext } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Prober, type ProbeResult } from '../../src/observe/probe.ts';
import { type Clock, systemClock } from '../../src/system/clock.ts';

const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex');
const never = new AbortController().signal;

/** A web server on loopback; `requests` collects what came in. */
async function serve(t: TestContext, answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/pub`, requests };
}

function makeProber(changes: { timeoutMs?: number; maxBytes?: number; clock?: Clock } = {}): Prober {
  return new Prober({ version: '0.1.0', clock: systemClock, ...changes });
}

const look = (
  prober: Prober,
  url: string,
  indexes = ['main/x86_64/APKINDEX.tar.gz'],
  signal = never,
): Promise<ProbeResult> => prober.probe({ mirror: 'paris', url, indexes }, { signal });

function failureOf(result: ProbeResult, index = 'main/x86_64/APKINDEX.tar.gz'): string {
  const answer = result.indexes.get(index);
  assert.ok(answer && 'failed' in answer, `failed, got ${JSON.stringify(answer)}`);
  assert.equal(result.success, false);
  return answer.failed;
}

test('each index is fetched below the URL and told by its SHA-256', async (t) => {
  const { url, requests } = await serve(t, (request, response) => response.end(`index at ${request.url}`));
  const indexes = ['main/x86_64/APKINDEX.tar.gz', 'staging/a b/c#d/aarch64/packages.adb'];
  const result = await look(makeProber(), url, indexes);
  assert.deepEqual(
    result.indexes,
    new Map([
      ['main/x86_64/APKINDEX.tar.gz', { sha256: sha256('index at /pub/main/x86_64/APKINDEX.tar.gz') }],
      [
        'staging/a b/c#d/aarch64/packages.adb',
        { sha256: sha256('index at /pub/staging/a%20b/c%23d/aarch64/packages.adb') },
      ],
    ]),
  );
  assert.equal(result.success, true);
  const headers = requests[0]?.headers;
  assert.equal(headers?.['user-agent'], 'lockstepd/0.1.0');
  assert.equal(headers['cache-control'], 'no-cache');
});

test('at most four repositories are asked at a time', async (t) => {
  const waiting: ServerResponse[] = [];
  let most = 0;
  const { url, requests } = await serve(t, (_request, response) => {
    most = Math.max(most, waiting.push(response));
    // None is answered before four are there: then long enough for a fifth request to come in, if there were one.
    if (requests.length % 4 !== 0 && requests.length < 30) return;
    setTimeout(() => {
      for (const one of waiting.splice(0)) one.end('x');
    }, 25);
  });
  const result = await look(
    makeProber(),
    url,
    Array.from({ length: 30 }, (_, i) => `r${i}/x86_64`),
  );
  assert.equal(result.indexes.size, 30);
  assert.equal(requests.length, 30);
  assert.equal(most, 4);
});

test('a 304 keeps the last digest: by tag, or by date where there is no tag', async (t) => {
  for (const [validator, condition] of [
    [{ etag: '"7-a"', 'last-modified': 'Sun, 22 Nov 2026 18:00:00 GMT' }, 'if-none-match'],
    [{ 'last-modified': 'Sun, 22 Nov 2026 18:00:00 GMT' }, 'if-modified-since'],
  ] as const) {
    const { url, requests } = await serve(t, (request, response) => {
      response.writeHead(request.headers[condition] === Object.values(validator)[0] ? 304 : 200, validator);
      response.end('index');
    });
    const prober = makeProber();
    for (let round = 0; round < 3; round++) {
      const result = await look(prober, url);
      assert.deepEqual(result.indexes.get('main/x86_64/APKINDEX.tar.gz'), { sha256: sha256('index') });
    }
    const conditional = requests.map((r) => r.headers['if-none-match'] ?? r.headers['if-modified-since'] ?? null);
    assert.deepEqual(conditional, [null, Object.values(validator)[0], Object.values(validator)[0]]);
  }
});

test('a server that says 304 for ever is asked for the whole index now and then', async (t) => {
  let content = 'first';
  const { url } = await serve(t, (request, response) => {
    response.writeHead(request.headers['if-none-match'] ? 304 : 200, { etag: 'W/"same"' });
    response.end(content);
  });
  const prober = makeProber();
  await look(prober, url);
  content = 'second';
  const seen: unknown[] = [];
  for (let round = 0; round < 11; round++)
    seen.push((await look(prober, url)).indexes.get('main/x86_64/APKINDEX.tar.gz'));
  assert.ok(seen.slice(0, 10).every((answer) => isDeepStrictEqual(answer, { sha256: sha256('first') })));
  assert.deepEqual(seen[10], { sha256: sha256('second') });
});

test('a 304 that nobody asked for is a failure', async (t) => {
  const { url } = await serve(t, (_request, response) => response.writeHead(304).end());
  assert.match(failureOf(await look(makeProber(), url)), /HTTP status 304/);
});

test('changed content is seen, and what a mirror answers after a failure is conditional again', async (t) => {
  let state: 'one' | 'broken' | 'two' = 'one';
  const { url } = await serve(t, (request, response) => {
    if (state === 'broken') response.writeHead(503).end();
    else if (request.headers['if-none-match'] === `"${state}"`) response.writeHead(304).end();
    else response.writeHead(200, { etag: `"${state}"` }).end(state);
  });
  const prober = makeProber();
  await look(prober, url);
  state = 'broken';
  assert.match(failureOf(await look(prober, url)), /HTTP status 503/);
  state = 'one';
  assert.deepEqual((await look(prober, url)).indexes.get('main/x86_64/APKINDEX.tar.gz'), { sha256: sha256('one') });
  state = 'two';
  assert.deepEqual((await look(prober, url)).indexes.get('main/x86_64/APKINDEX.tar.gz'), { sha256: sha256('two') });
});

test('another URL for a mirror starts without conditions', async (t) => {
  const answer = (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(200, { etag: '"1"' }).end('x');
  };
  const one = await serve(t, answer);
  const two = await serve(t, answer);
  const prober = makeProber();
  await look(prober, one.url);
  await look(prober, two.url);
  assert.equal(two.requests[0]?.headers['if-none-match'], undefined);
  await look(prober, two.url);
  assert.equal(two.requests[1]?.headers['if-none-match'], '"1"');
});

test('404 and 410 say that there is no index, which is an answer', async (t) => {
  const { url } = await serve(t, (request, response) =>
    response.writeHead(request.url?.includes('gone') ? 410 : 404).end('no'),
  );
  const result = await look(makeProber(), url, ['main/x86_64/APKINDEX.tar.gz', 'gone/x86_64/APKINDEX.tar.gz']);
  assert.deepEqual([...result.indexes.values()], [{ absent: true }, { absent: true }]);
  assert.equal(result.success, true);
});

test('one repository that fails fails the probe and leaves the others', async (t) => {
  const { url } = await serve(t, (request, response) =>
    response.writeHead(request.url?.includes('bad') ? 500 : 200).end('x'),
  );
  const result = await look(makeProber(), url, ['bad/x86_64/APKINDEX.tar.gz', 'main/x86_64/APKINDEX.tar.gz']);
  assert.match(failureOf(result, 'bad/x86_64/APKINDEX.tar.gz'), /500/);
  assert.deepEqual(result.indexes.get('main/x86_64/APKINDEX.tar.gz'), { sha256: sha256('x') });
});

test('three redirects are followed, a loop is not', async (t) => {
  const { url, requests } = await serve(t, (request, response) => {
    const step = Number(new URL(request.url ?? '', 'http://x').searchParams.get('n') ?? 0);
    const last = request.url?.includes('main') ? 3 : Number.POSITIVE_INFINITY;
    if (step < last) response.writeHead(302, { location: `?n=${step + 1}` }).end();
    else response.end('there');
  });
  assert.deepEqual((await look(makeProber(), url)).indexes.get('main/x86_64/APKINDEX.tar.gz'), {
    sha256: sha256('there'),
  });
  requests.length = 0;
  assert.match(failureOf(await look(makeProber(), url, ['loop/x86_64']), 'loop/x86_64'), /more than 3 times/);
  assert.equal(requests.length, 4);
});

test('a redirect leads nowhere but to http and https', async (t) => {
  for (const location of ['file:///etc/passwd', 'ftp://example.org/x', 'data:,x', 'http://[', '']) {
    const { url } = await serve(t, (_request, response) => response.writeHead(301, { location }).end());
    const failed = failureOf(await look(makeProber(), url));
    assert.match(failed, location === '' ? /more than 3 times/ : /not http or https/, location);
  }
});

test('an endless body is cut at the limit', async (t) => {
  let sent = 0;
  const { url } = await serve(t, (_request, response) => {
    const chunk = Buffer.alloc(64 * 1024);
    const more = (): void => {
      do sent += chunk.length;
      while (response.write(chunk));
      response.once('drain', more);
    };
    more();
  });
  assert.match(failureOf(await look(makeProber({ maxBytes: 1024 * 1024 }), url)), /longer than 1048576 bytes/);
  assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken`);
});

test('a body of exactly the limit is accepted', async (t) => {
  const { url } = await serve(t, (_request, response) => response.end('1234'));
  assert.deepEqual((await look(makeProber({ maxBytes: 4 }), url)).indexes.get('main/x86_64/APKINDEX.tar.gz'), {
    sha256: sha256('1234'),
  });
});

test('a mirror that stalls, before its answer or within, meets the deadline', async (t) => {
  const { url } = await serve(t, (request, response) => {
    if (request.url?.includes('within')) response.writeHead(200).write('half');
  });
  const result = await look(makeProber({ timeoutMs: 150 }), url, ['before/x86_64', 'within/x86_64']);
  assert.match(failureOf(result, 'before/x86_64'), /no answer within 0\.15 s/);
  assert.match(failureOf(result, 'within/x86_64'), /no answer within 0\.15 s/);
});

test('a body that is cut short is no digest', async (t) => {
  const { url } = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 1000 });
    response.write('part', () => response.destroy());
  });
  assert.ok(failureOf(await look(makeProber(), url)));
});

test('a port where nobody listens and one that does not speak HTTP are told apart', async () => {
  const tcp = createTcpServer((socket) =>
    socket
      .on('error', () => {})
      .resume()
      .end('SSH-2.0-OpenSSH_9.2\r\n'),
  );
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  const { port } = tcp.address() as AddressInfo;
  assert.match(failureOf(await look(makeProber(), `http://127.0.0.1:${port}/`)), /HPE_|Parse Error/);
  await new Promise((resolve) => tcp.close(resolve));
  // No port of those that are given to whoever asks for any: somebody else may have got that one by now.
  assert.match(failureOf(await look(makeProber(), 'http://127.0.0.1:9/')), /ECONNREFUSED/);
  assert.match(failureOf(await look(makeProber(), 'rsync://127.0.0.1/pub')), /expected http/);
});

test("the mirror's clock is compared with ours, unless a cache answered", async (t) => {
  const date = new Date(Date.UTC(2026, 10, 22, 18, 0, 0));
  const clock: Clock = { ...systemClock, now: () => date.getTime() - 90_000 };
  const { url } = await serve(t, (request, response) => {
    const aged = request.url?.includes('aged') ? { age: '30' } : {};
    response.writeHead(200, { date: date.toUTCString(), ...aged }).end('x');
  });
  assert.equal((await look(makeProber({ clock }), url)).clockSkewSeconds, 90);
  assert.equal((await look(makeProber({ clock }), url, ['aged/x86_64'])).clockSkewSeconds, null);
});

test('an abort ends a probe with its reason at once', async (t) => {
  const controller = new AbortController();
  const reason = new Error('the daemon stops');
  const { url } = await serve(t, () => controller.abort(reason));
  await assert.rejects(look(makeProber(), url, ['a/x', 'b/x', 'c/x', 'd/x', 'e/x', 'f/x'], controller.signal), reason);
  await assert.rejects(look(makeProber(), url, ['a/x'], controller.signal), reason, 'nothing starts any more');

  const late = new AbortController();
  const stalled = await serve(t, () => late.abort(reason));
  await assert.rejects(look(makeProber(), stalled.url, ['a/x'], late.signal), reason, 'no failure of the mirror');
});
