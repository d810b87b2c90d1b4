/** The demo as a viewer starts it: with and without rsync and sshd, stopped by hand, and failing at the start. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type TestContext } from 'node:test';
import ssh2 from 'ssh2';
import { Story } from '../../src/cli/demo-story.ts';
import { serveDirectories } from '../../src/cli/demo-web.ts';
import type { Status } from '../../src/observe/status.ts';
import { createKeyPair } from '../../src/system/ssh-server.ts';
import { missingProgram } from '../support/sshd.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const checkout = resolve(import.meta.dirname, '../..');
const main = join(checkout, 'src/main.ts');

/** For what takes a moment, and on a busy machine many. */
const patienceMs = 120_000;

/** A demo in its own process group, its home and its temporary directory being empty directories that must stay so. */
class Demo {
  readonly child: ChildProcess;
  readonly home: string;
  output = '';
  readonly #closed: Promise<unknown>;

  private constructor(child: ChildProcess, home: string) {
    this.child = child;
    this.home = home;
    this.#closed = once(child, 'close');
    child.stdout?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
  }

  static async start(t: TestContext, args: readonly string[], path = process.env.PATH ?? ''): Promise<Demo> {
    const home = await mkdtemp(join(tmpdir(), 'lockstepd-demo-test-'));
    for (const name of ['home', 'tmp', 'bin', 'cwd']) mkdirSync(join(home, name));
    const env = { PATH: path === '' ? join(home, 'bin') : path, HOME: join(home, 'home'), TMPDIR: join(home, 'tmp') };
    const child = spawn(process.execPath, [main, 'demo', ...args], {
      env,
      cwd: join(home, 'cwd'),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const demo = new Demo(child, home);
    t.after(() => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, 'SIGKILL');
      rmSync(home, { recursive: true, force: true });
    });
    return demo;
  }

  async said(pattern: RegExp): Promise<string> {
    const deadline = performance.now() + patienceMs;
    while (performance.now() < deadline) {
      const isOver = this.child.exitCode !== null;
      if (isOver) await this.#closed;
      const found = pattern.exec(this.output);
      if (found) return found[1] ?? found[0];
      if (isOver) break;
      await sleep(20);
    }
    throw new Error(`the demo did not say ${String(pattern)}:\n${this.output}`);
  }

  /** The folder that it works in, absolute. */
  async folder(): Promise<string> {
    return resolve(this.home, 'cwd', await this.said(/Everything is in (\S+)/));
  }

  /** Once all that it has said is here, too. */
  async ended(): Promise<number | null> {
    await this.#closed;
    return this.child.exitCode;
  }

  /** What was ended with it needs a moment to be gone. */
  async assertNoProcess(folder: string): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (processesOf(folder, this.child.pid ?? 0).length > 0 && performance.now() < deadline) await sleep(20);
    assert.deepEqual(processesOf(folder, this.child.pid ?? 0), [], 'no process is left');
  }

  /** Fails unless no process and no file is left, in the checkout or elsewhere. */
  async assertNothingLeft(folder: string): Promise<void> {
    await this.assertNoProcess(folder);
    assert.equal(existsSync(folder), false, 'the folder is gone');
    for (const name of ['home', 'tmp', 'cwd'])
      assert.deepEqual(readdirSync(join(this.home, name)), [], `nothing was written to ${name}`);
  }
}

/** Processes of the group `group`, or with `folder` in their arguments or as their working directory. */
function processesOf(folder: string, group: number): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      const state = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      if (state[0] === 'Z') return false;
      return (
        Number(state[2]) === group ||
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder) ||
        readlinkSync(`/proc/${pid}/cwd`).startsWith(folder)
      );
    } catch {
      return false;
    }
  });
}

async function indexDigest(url: string): Promise<string> {
  const digests: string[] = [];
  for (const arch of ['x86_64', 'aarch64']) {
    const response = await fetch(`${url}main/${arch}/APKINDEX.tar.gz`);
    const bytes = Buffer.from(await response.arrayBuffer());
    digests.push(response.ok ? createHash('sha256').update(bytes).digest('hex') : `${response.status}`);
  }
  return digests.join(' ');
}

/** Waits until every mirror is said to be, and is seen to be, at one generation of at least 2. */
async function untilTheSameEverywhere(demo: Demo, mirrors: readonly string[]): Promise<void> {
  const page = await demo.said(/status page +(http:\S+)/);
  const urls = await Promise.all(
    ['primary', ...mirrors].map((name) => demo.said(new RegExp(`(http://\\S+/${name}/)`))),
  );
  const deadline = performance.now() + patienceMs;
  while (performance.now() < deadline) {
    const status = (await (await fetch(`${page}status.json`)).json()) as Status;
    assert.deepEqual(status.mirrors.map((mirror) => mirror.name).sort(), [...mirrors].sort());
    const digests = new Set(await Promise.all(urls.map(indexDigest)));
    const inStep = status.mirrors.every(
      (mirror) => mirror.generation === status.generation && mirror.observed_generation === status.generation,
    );
    if (status.generation >= 2 && inStep && digests.size === 1 && ![...digests].join('').includes('404')) return;
    await sleep(20);
  }
  throw new Error(`the mirrors never were the same:\n${demo.output}`);
}

test('with rsync and sshd: three mirrors hold the same generation, one is lost and catches up, and nothing is left', async (t) => {
  const missing = missingProgram('sshd', 'ssh', 'rsync', 'rrsync');
  if (missing !== undefined) return t.skip(`${missing} absent`);
  if (process.getuid?.() === 0 && !existsSync('/run/sshd')) return t.skip('/run/sshd absent');
  // A mirror is tried once a second at most: more often than that, all would hardly ever hold the same.
  const demo = await Demo.start(t, ['--interval', '3']);
  const folder = await demo.folder();
  assert.equal(dirname(folder), join(checkout, '.demo'));
  await untilTheSameEverywhere(demo, ['usb-disk', 'tokyo', 'paris']);
  assert.notDeepEqual(
    processesOf(folder, demo.child.pid ?? 0),
    [],
    'the search for processes finds some while it runs',
  );
  await demo.said(/tokyo +lost \(\w+\)/);
  await demo.said(/tokyo +caught up: from generation \d+ to \d+ in one push/);
  demo.child.kill('SIGINT');
  assert.equal(await demo.ended(), 0, demo.output);
  await demo.assertNothingLeft(folder);
});

test('with nothing but Node: two mirrors hold the same generation, and it ends by itself', async (t) => {
  const demo = await Demo.start(t, ['--seconds', '18', '--interval', '5'], '');
  const folder = await demo.folder();
  assert.match(await demo.said(/^Without rsync and ssh: .*$/m), /ssh, rsync, rrsync not installed/);
  await untilTheSameEverywhere(demo, ['usb-disk', 'tokyo']);
  assert.equal(await demo.ended(), 0, demo.output);
  assert.match(demo.output, /all 2 mirrors serve generation \d+/);
  await demo.assertNothingLeft(folder);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} ends everything, as it does from a terminal: the whole process group gets it`, async (t) => {
    const demo = await Demo.start(t, ['--interval', '1']);
    const folder = await demo.folder();
    await demo.said(/in step with generation 1/);
    process.kill(-(demo.child.pid ?? 0), signal);
    assert.equal(await demo.ended(), 0, demo.output);
    await demo.assertNothingLeft(folder);
  });
}

test('SIGKILL leaves the folder, but no process', async (t) => {
  const demo = await Demo.start(t, ['--interval', '1']);
  const folder = await demo.folder();
  await demo.said(/in step with generation 1/);
  demo.child.kill('SIGKILL');
  await demo.ended();
  await demo.assertNoProcess(folder);
  rmSync(folder, { recursive: true });
});

test('a reader that goes away ends it, and the folder goes too', async (t) => {
  const demo = await Demo.start(t, ['--interval', '1']);
  const folder = await demo.folder();
  demo.child.stdout?.destroy();
  await once(demo.child, 'exit');
  await demo.assertNothingLeft(folder);
});

test('a failure at the start leaves nothing behind either', async (t) => {
  const taken = createServer();
  await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done));
  t.after(() => taken.close());
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const before = existsSync(join(checkout, '.demo')) ? readdirSync(join(checkout, '.demo')) : [];
  const demo = await Demo.start(t, ['--port', `${port}`]);
  assert.equal(await demo.ended(), 1);
  assert.match(demo.output, new RegExp(`^lockstepd: .*127\\.0\\.0\\.1:${port}.*$`, 'm'));
  const after = existsSync(join(checkout, '.demo')) ? readdirSync(join(checkout, '.demo')) : [];
  assert.deepEqual(
    after.filter((name) => !before.includes(name)),
    [],
  );
  assert.deepEqual(
    processesOf(join(checkout, '.demo'), demo.child.pid ?? 0).filter((pid) => Number(pid) === demo.child.pid),
    [],
  );
  for (const name of ['home', 'tmp', 'cwd']) assert.deepEqual(readdirSync(join(demo.home, name)), []);
});

for (const [args, complaint] of [
  [['--seconds', '0'], 'demo: --seconds 0: expected seconds from 1 to 86400'],
  [['--interval', 'soon'], 'demo: --interval soon: expected seconds from 0.5 to 3600'],
  [['--port', '80.5'], 'demo: --port 80.5: expected a port from 0 (any that is free) to 65535'],
] as const) {
  test(`usage: ${args.join(' ')}`, async (t) => {
    const demo = await Demo.start(t, args);
    assert.equal(await demo.ended(), 2);
    assert.equal(demo.output, `lockstepd: ${complaint}\n`);
  });
}

test('the story tells what a viewer wants to know, once', () => {
  const story = new Story();
  const told = (event: string, fields: Record<string, string | number>, ms: number): string | undefined =>
    story.tell(event, fields, ms)?.text;
  assert.equal(told('started', { generation: 0 }, 0), undefined);
  assert.equal(
    told('batch_published', { generation: 1, added: 2, removed: 0 }, 100),
    'published as generation 1: 2 packages in, 0 out',
  );
  assert.equal(
    told('mirror_in_step', { mirror: 'm', generation: 1 }, 131),
    'in step with generation 1 31 ms after it was published',
  );
  assert.equal(told('push_failed', { mirror: 'm', reason: 'refused', detail: 'no' }, 1000), 'lost (refused): no');
  assert.equal(
    told('push_failed', { mirror: 'm', reason: 'refused', detail: 'no' }, 1500),
    undefined,
    'a mirror is lost once',
  );
  assert.equal(
    told('mirror_in_step', { mirror: 'm', generation: 4 }, 4000),
    'caught up: from generation 1 to 4 in one push, 3.0 s after it was lost',
  );
  assert.equal(
    told('batch_held', { code: 'INCOMPLETE' }, 5000),
    'batch_held code=INCOMPLETE',
    'what nobody foresaw is told as it is',
  );
});

test('every fresh ssh key pair is usable', () => {
  for (let i = 0; i < 2000; i++) {
    const { privateKey, publicKey } = createKeyPair();
    assert.ok(!(ssh2.utils.parseKey(privateKey) instanceof Error), 'as a private key');
    assert.equal(
      Buffer.from(publicKey.split(' ')[1] ?? '', 'base64').length,
      51,
      'name and 32 bytes, each with its length',
    );
  }
});

test('the web server shows files below its roots and nothing else', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'lockstepd-demo-web-'));
  removeAtEnd(t, root);
  mkdirSync(join(root, 'tree/main'), { recursive: true });
  writeFileSync(join(root, 'tree/main/file'), 'content');
  writeFileSync(join(root, 'secret'), 'secret');
  symlinkSync('../../secret', join(root, 'tree/main/link'));
  symlinkSync('tree', join(root, 'public'));
  await using web = await serveDirectories(new Map([['m', join(root, 'public')]]));
  const get = async (path: string, init: RequestInit = {}): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${web.port}${path}`, init);
    return [response.status, await response.text()];
  };
  assert.deepEqual(await get('/m/main/file'), [200, 'content']);
  assert.match((await get('/m/main/'))[1], /href="file"/);
  assert.equal((await get('/m/main/link'))[0], 404);
  assert.equal((await get('/m/%2e%2e%2fsecret'))[0], 400);
  assert.equal((await get('/other/file'))[0], 404);
  assert.equal((await get('/m/absent'))[0], 404);
  assert.equal((await get('/m/main/file', { method: 'DELETE' }))[0], 405);
  const tag = (await fetch(`http://127.0.0.1:${web.port}/m/main/file`)).headers.get('etag') ?? '';
  assert.deepEqual(await get('/m/main/file', { headers: { 'if-none-match': tag } }), [304, '']);
});
