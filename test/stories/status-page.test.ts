/** The public page of a real daemon behind a real nginx, with the configuration that we ship: whole, live, and nothing of the operator's. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { hasEnded, kept } from '../support/child.ts';
import { Primary } from '../support/primary.ts';
import { freePort, untilAnswers } from '../support/sshd.ts';

const nginx = '/usr/sbin/nginx';
const snippet = resolve(import.meta.dirname, '../../config/nginx/status.conf');

/** nginx with our snippet in a server block; resolves with its address once it answers. */
async function startNginx(t: TestContext, daemon: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-nginx-'));
  const port = await freePort();
  await writeFile(
    join(directory, 'status.conf'),
    (await readFile(snippet, 'utf8')).replaceAll('127.0.0.1:9617', daemon),
  );
  await writeFile(
    join(directory, 'nginx.conf'),
    `daemon off; worker_processes 1; master_process off; pid ${directory}/pid; error_log stderr;
events { worker_connections 64; }
http { access_log off; client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy; fastcgi_temp_path ${directory}/f;
uwsgi_temp_path ${directory}/u; scgi_temp_path ${directory}/s;
server { listen 127.0.0.1:${port}; include ${directory}/status.conf; } }\n`,
  );
  const [program, ...args] = [...kept, nginx, '-p', directory, '-c', join(directory, 'nginx.conf')];
  const child: ChildProcess = spawn(program, args, { stdio: 'ignore' });
  const ended = new Promise((exit) => child.once('exit', exit));
  t.after(async () => {
    child.kill('SIGTERM');
    await ended;
    await rm(directory, { recursive: true, force: true });
  });
  const address = `http://127.0.0.1:${port}`;
  await untilAnswers(port, 'nginx', () => hasEnded(child));
  return address;
}

test('a web server shows the public page at a path of its own, and it follows', async (t) => {
  if (!existsSync(nginx)) return t.skip('nginx absent');
  if (!existsSync(snippet)) return t.skip('config/nginx/status.conf absent');
  await using primary = await Primary.create();
  const mirrors = join(primary.directory, 'mirrors');
  await mkdir(join(mirrors, 'near'));
  await primary.configure({
    mirrors: `  - { name: near, url: "http://near.example.org:9/pub/", transport: { type: directory, path: ${join(mirrors, 'near')} } }`,
    more: 'listen_public: 127.0.0.1:0',
  });
  await primary.start();
  const started = JSON.parse(primary.log.split('\n').find((line) => line.includes('"started"')) ?? '{}') as {
    listen: string;
    listen_public: string;
  };
  const web = await startNginx(t, started.listen);
  const page = await fetch(`${web}/status/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-security-policy') ?? '', /script-src 'sha256-/);
  const text = await page.text();
  assert.match(text, /Nothing published yet/);
  const version = /data-version="([^"]+)"/.exec(text)?.[1] ?? '';

  const stop = new AbortController();
  t.after(() => stop.abort());
  const events = await fetch(`${web}/status/events?v=${version}`, { signal: stop.signal });
  const decoder = new TextDecoder();
  let seen = '';
  const reading = (async () => {
    for await (const chunk of events.body ?? []) seen += decoder.decode(chunk as Uint8Array, { stream: true });
  })().catch(() => {});
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilInSync('near', 1);
  await primary.until('the page to follow', () =>
    /event: page\ndata: .*In step|event: page\ndata: .*in step/.test(seen),
  );
  assert.doesNotMatch(seen, /main\/x86_64/, 'no paths');
  stop.abort();
  await reading;

  for (const path of ['status.json', 'mirrors/status/json', 'mirrors.json']) {
    const data = await fetch(`${web}/status/${path}`);
    assert.equal(data.status, 200, path);
    assert.ok((await data.text()).includes('http://near.example.org:9/pub/'));
  }
  for (const path of ['metrics', 'history.json', '..%2fmetrics', '../metrics'])
    assert.equal((await fetch(`${web}/status/${path}`)).status === 200, false, path);
  const alone = `http://${started.listen_public}`;
  assert.equal((await fetch(`${alone}/metrics`)).status, 404);
  const { generation, generations } = (await (await fetch(`${alone}/status.json`)).json()) as {
    generation: number;
    generations: { reached: number; last_seconds: number }[];
  };
  assert.deepEqual([generation, generations.length, generations[0]?.reached], [1, 1, 1]);
});
