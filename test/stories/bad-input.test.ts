import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { appendFile, mkdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { createSigningKey, type MadePackage } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import type { Status } from '../../src/observe/status.ts';
import { kill } from '../support/child.ts';
import { Primary, type PrimaryOptions, snapshot } from '../support/primary.ts';

type Batch = Status['batches'][number];

const settle = '300ms';
const options = {
  repositories: ['*/{arch}'],
  inbox: `    settle: ${settle}`,
  more: 'schedule: { rescan: 1s }',
} satisfies PrimaryOptions;
let versions = 0;
/** No two cases share bytes: known ones would be taken from where they were published. */
let seeds = 100;

/** A primary that serves `good/x86_64`, and what each case asserts about it. */
class World {
  readonly primary: Primary;
  readonly good: SampleRepository;

  constructor(primary: Primary) {
    this.primary = primary;
    this.good = primary.repository('good/x86_64');
  }

  inInbox(...path: string[]): string {
    return join(this.primary.inbox, ...path);
  }

  /** The next good batch goes through. */
  async publishGood(): Promise<void> {
    const { generation } = await this.primary.status();
    this.good.set({ name: 'good', version: `1.${versions++}-r0`, contentBytes: 1000, seed: versions });
    await this.good.write(this.primary.inbox);
    await this.primary.untilGeneration(generation + 1);
  }

  /** The inbox settles within `time` from now on. */
  async settleWithin(time: string): Promise<void> {
    await this.primary.configure({ ...options, inbox: `    settle: ${time}` });
    const { status, body } = await this.primary.control('reload', {});
    assert.equal(status, 200, JSON.stringify(body));
  }

  async untilBatch(state: string, isIt: (batch: Batch) => boolean): Promise<Batch> {
    let found: Batch | undefined;
    await this.primary.until(`a batch that is ${state}: ${String(isIt)}`, async () => {
      found = (await this.primary.status()).batches.find((b) => b.state === state && isIt(b));
      return found !== undefined;
    });
    if (!found) throw new Error('unreachable');
    return found;
  }

  async untilReason(state: string, code: string, path: string): Promise<Batch> {
    return this.untilBatch(state, (b) => b.reasons.some((r) => r.code === code && r.path === path));
  }

  /** Writes a repository of two packages whose second one is then spoilt; what it becomes must leave the public tree as it is. */
  async spoil(name: string, spoil: (path: string, made: MadePackage) => Promise<void>): Promise<SampleRepository> {
    const repository = this.primary.repository(`${name}/x86_64`);
    const made = ['whole', 'spoilt'].map((n) =>
      repository.set({ name: n, version: '1.0-r0', contentBytes: 3000, seed: ++seeds }),
    );
    const directory = this.inInbox(name, 'x86_64');
    await mkdir(directory, { recursive: true });
    for (const one of made) await writeFile(join(directory, one.file), one.bytes);
    await spoil(join(directory, 'spoilt-1.0-r0.apk'), made[1] as MadePackage);
    await writeFile(join(directory, '.new'), repository.index());
    await rename(join(directory, '.new'), join(directory, 'APKINDEX.tar.gz'));
    return repository;
  }
}

async function start(t: TestContext, { mount }: { readonly mount?: string } = {}): Promise<World | null> {
  const primary = await Primary.create(options);
  let mounted = false;
  t.after(async () => {
    await primary.stop();
    if (mounted) spawnSync('umount', ['-l', primary.root]);
    await primary[Symbol.asyncDispose]();
  });
  if (mount !== undefined) {
    const result = spawnSync('mount', ['-t', 'tmpfs', '-o', mount, 'tmpfs', primary.root]);
    mounted = result.status === 0;
    if (!mounted) {
      t.skip(`no tmpfs can be mounted here: ${String(result.stderr).trim()}`);
      return null;
    }
    await mkdir(primary.inbox, { recursive: true });
  }
  await primary.start();
  return new World(primary);
}

test('bad input ends in the right state, and the next good batch goes through', { timeout: 900_000 }, async (t) => {
  const world = await start(t);
  if (!world) return;
  const { primary } = world;
  await world.publishGood();

  /** One case: it does its harm, is cleared away, and nothing but good batches ever changed what is served. */
  const harm = async (name: string, work: (name: string) => Promise<void>, repository = name): Promise<void> => {
    await t.test(name, async () => {
      const { pid } = primary;
      const before = await snapshot(primary.public);
      await work(repository);
      assert.deepEqual(await snapshot(primary.public), before, 'the public tree is untouched');
      await rm(world.inInbox(repository), { recursive: true, force: true });
      await world.publishGood();
      assert.equal(primary.pid, pid);
    });
  };

  await harm(
    'a truncated package waits, then is held with its name',
    async (name) => {
      // Long enough for it to be seen, however slowly this is read.
      await world.settleWithin('10m');
      await world.spoil(name, (path, made) => writeFile(path, made.bytes.subarray(0, 1000)));
      const path = `${name}/x86_64/spoilt-1.0-r0.apk`;
      const waiting = await world.untilReason('waiting', 'INCOMPLETE', path);
      await world.settleWithin(settle);
      const held = await world.untilReason('held', 'INCOMPLETE', path);
      assert.equal(held.id, waiting.id);
      assert.match(held.reasons[0]?.detail ?? '', /^1000 bytes, expected \d+$/);
      assert.equal(held.reasons.length, 1);
    },
    'truncated',
  );

  await harm(
    'a package that never came is held with its name',
    async (name) => {
      await world.spoil(name, (path) => rm(path));
      const held = await world.untilReason('held', 'INCOMPLETE', `${name}/x86_64/spoilt-1.0-r0.apk`);
      assert.equal(held.generation, null);
    },
    'absent',
  );

  await harm(
    'an index by an unknown key is rejected and kept',
    async (name) => {
      const stranger = new SampleRepository(`${name}/x86_64`, createSigningKey('stranger.rsa.pub'));
      stranger.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
      await stranger.write(primary.inbox);
      const rejected = await world.untilReason('rejected', 'SIG_UNTRUSTED', `${name}/x86_64/APKINDEX.tar.gz`);
      const kept = join(primary.root, 'quarantine', rejected.id);
      const uploaded = await readFile(world.inInbox(name, 'x86_64', 'APKINDEX.tar.gz'));
      const copy = join(kept, name, 'x86_64', 'APKINDEX.tar.gz');
      await primary.until('the quarantine', () => existsSync(copy) && readFileSync(copy).equals(uploaded));
      const reason = JSON.parse(await readFile(join(kept, 'reason.json'), 'utf8'));
      assert.equal(reason.reasons[0].code, 'SIG_UNTRUSTED');
    },
    'stranger',
  );

  await harm(
    'a truncated index is rejected',
    async (name) => {
      await world.spoil(name, async () => {});
      const index = world.inInbox(name, 'x86_64', 'APKINDEX.tar.gz');
      await truncate(index, (await stat(index)).size - 20);
      await world.untilBatch('rejected', (b) => b.reasons.some((r) => r.path === 'cut/x86_64/APKINDEX.tar.gz'));
    },
    'cut',
  );

  for (const [what, repository, make] of [
    ['a FIFO', 'fifo', (path: string) => run('mkfifo', path)],
    ['a device', 'device', (path: string) => run('mknod', path, 'c', '1', '5')],
    ['a directory', 'directory', (path: string) => mkdir(path)],
    ['an absolute symlink', 'absolute', (path: string) => symlink('/etc/passwd', path)],
    ['a symlink out of the inbox', 'outside', (path: string) => symlink('../../../../state/state.db', path)],
    ['a symlink to itself', 'loop', (path: string) => symlink('spoilt-1.0-r0.apk', path)],
  ] as const) {
    await harm(
      `${what} in place of a package is refused`,
      async (name) => {
        const problems: unknown[] = [];
        await world.spoil(name, async (path) => {
          await rm(path);
          await Promise.resolve(make(path)).catch((error: unknown) => problems.push(error));
        });
        if (problems.length > 0) {
          t.diagnostic(`${what} cannot be made here: ${String(problems[0])}`);
          return;
        }
        await world.untilReason('rejected', 'NOT_REGULAR', `${name}/x86_64/spoilt-1.0-r0.apk`);
      },
      repository,
    );
  }

  await harm(
    'a FIFO in place of an index is refused',
    async (name) => {
      await mkdir(world.inInbox(name, 'x86_64'), { recursive: true });
      await run('mkfifo', world.inInbox(name, 'x86_64', 'APKINDEX.tar.gz'));
      await world.untilReason('rejected', 'NOT_REGULAR', `${name}/x86_64/APKINDEX.tar.gz`);
    },
    'fifo-index',
  );

  await harm(
    'names with newlines and escape codes are refused where they count, ignored elsewhere, and never shown raw',
    async (name) => {
      const evil = 'new\nline\u001b[31m\u202e';
      await mkdir(world.inInbox(evil, 'x86_64'), { recursive: true });
      await mkdir(world.inInbox(name, evil), { recursive: true });
      await writeFile(world.inInbox(evil, 'x86_64', 'APKINDEX.tar.gz'), 'x');
      await writeFile(world.inInbox('good', 'x86_64', `${evil}.apk`), 'junk');
      const rejected = await world.untilBatch(
        'rejected',
        (b) => b.reasons.filter((r) => r.code === 'NAME').length === 2,
      );
      const unsafe = /[\p{Cc}\p{Cf}]/u;
      for (const { path, detail } of rejected.reasons) assert.doesNotMatch(path + detail, unsafe);
      assert.doesNotMatch(JSON.stringify(await primary.status()), unsafe);
      // oxlint-disable-next-line no-control-regex -- a terminal would obey it
      assert.doesNotMatch(primary.log, /\u001b/);
      await rm(world.inInbox(evil), { recursive: true });
      await rm(world.inInbox('good', 'x86_64', `${evil}.apk`));
    },
    'names',
  );

  await t.test(
    'a package that does not match is rejected and kept; mended, it goes out under the same id',
    async () => {
      const before = await snapshot(primary.public);
      let right: Buffer = Buffer.alloc(0);
      await world.spoil('mismatch', async (path, made) => {
        right = made.bytes;
        const wrong = Buffer.from(made.bytes);
        wrong[wrong.length - 1500] = (wrong[wrong.length - 1500] ?? 0) ^ 1;
        await writeFile(path, wrong);
      });
      const path = 'mismatch/x86_64/spoilt-1.0-r0.apk';
      const rejected = await world.untilReason('rejected', 'DATA_MISMATCH', path);
      await primary.until('the quarantine', () => existsSync(join(primary.root, 'quarantine', rejected.id, path)));
      assert.deepEqual(await snapshot(primary.public), before);
      await world.publishGood();
      await writeFile(world.inInbox(path), right);
      const published = await world.untilBatch('published', (b) => b.id === rejected.id);
      assert.ok(published.generation);
      assert.deepEqual(await readFile(join(primary.public, path)), right);
    },
  );

  await t.test('a held batch that is completed goes out under the same id', async () => {
    let late: Buffer = Buffer.alloc(0);
    await world.spoil('late', async (path, made) => {
      late = made.bytes;
      await rm(path);
    });
    const path = 'late/x86_64/spoilt-1.0-r0.apk';
    const held = await world.untilReason('held', 'INCOMPLETE', path);
    await writeFile(world.inInbox(path), late);
    await world.untilBatch('published', (b) => b.id === held.id);
    assert.deepEqual(await readFile(join(primary.public, path)), late);
  });

  await t.test('of two repositories the closed one goes out, the incomplete one is held', async () => {
    const { generation } = await primary.status();
    await world.spoil('half', (path) => rm(path));
    await world.publishGood();
    await world.untilReason('held', 'INCOMPLETE', 'half/x86_64/spoilt-1.0-r0.apk');
    assert.equal((await primary.status()).generation, generation + 1);
    await rm(world.inInbox('half'), { recursive: true });
    await primary.until(
      'the held batch to be forgotten',
      async () => !(await primary.status()).batches.some((b) => b.state === 'held'),
    );
  });

  await t.test('an index that is uploaded again unchanged publishes nothing', async () => {
    const { generation } = await primary.status();
    const index = world.inInbox('good', 'x86_64', 'APKINDEX.tar.gz');
    await writeFile(`${index}.new`, await readFile(index));
    await rename(`${index}.new`, index);
    await world.publishGood();
    assert.equal((await primary.status()).generation, generation + 1);
  });

  await t.test('an index that was replaced does not come back', async () => {
    const index = world.inInbox('good', 'x86_64', 'APKINDEX.tar.gz');
    const old = await readFile(index);
    await world.publishGood();
    const before = await snapshot(primary.public);
    await writeFile(index, old);
    await world.untilReason('rejected', 'REPLAY', 'good/x86_64');
    assert.deepEqual(await snapshot(primary.public), before);
    await world.publishGood();
  });

  await t.test('a file that keeps changing waits and goes out when it is left alone', async (part) => {
    const before = await snapshot(primary.public);
    let writer: ChildProcess | undefined;
    part.after(() => writer?.kill('SIGKILL'));
    const repository = primary.repository('restless/x86_64');
    const made = repository.set({ name: 'big', version: '1-r0', contentBytes: 20_000_000, seed: 7 });
    await mkdir(world.inInbox('restless', 'x86_64'), { recursive: true });
    const path = world.inInbox('restless', 'x86_64', made.file);
    await writeFile(path, made.bytes);
    const code = `const fs = require('node:fs'); const fd = fs.openSync(process.argv[1], 'r+'); const b = Buffer.alloc(1);
      const write = () => { fs.readSync(fd, b, 0, 1, 5_000_000); fs.writeSync(fd, b, 0, 1, 5_000_000); };
      write(); setInterval(write, 2); console.log('writing');`;
    const restless = spawn(process.execPath, ['-e', code, path], { stdio: ['ignore', 'pipe', 'ignore'] });
    writer = restless;
    // A file that nobody changes yet would go out.
    await once(restless.stdout, 'data');
    await writeFile(world.inInbox('restless', 'x86_64', 'APKINDEX.tar.gz'), repository.index());
    await world.untilReason('waiting', 'CHANGED_WHILE_READING', `restless/x86_64/${made.file}`);
    assert.deepEqual(await snapshot(primary.public), before);
    await world.publishGood();
    await kill(restless);
    await world.untilBatch(
      'published',
      (b) => b.reasons.length === 0 && b.id.length > 0 && existsSync(join(primary.public, 'restless')),
    );
    assert.deepEqual(await readFile(join(primary.public, 'restless/x86_64', made.file)), made.bytes);
  });

  await t.test('an inbox that is deleted and made again is watched again', async () => {
    const before = await snapshot(primary.public);
    await rename(primary.inbox, `${primary.inbox}.old`);
    await rm(`${primary.inbox}.old`, { recursive: true });
    await primary.until('the daemon to miss it', () => primary.log.includes('"inbox_absent"'));
    assert.deepEqual(await snapshot(primary.public), before);
    await mkdir(primary.inbox);
    const anew = primary.repository('anew/x86_64');
    anew.set({ name: 'anew', version: '1-r0', contentBytes: 100, seed: 1 });
    const { generation } = await primary.status();
    await anew.write(primary.inbox);
    await primary.untilGeneration(generation + 1);
    anew.set({ name: 'anew', version: '2-r0', contentBytes: 100, seed: 2 });
    await anew.write(primary.inbox);
    await primary.untilGeneration(generation + 2);
  });
});

test('a full disk holds the batch, and it goes through when there is room', { timeout: 300_000 }, async (t) => {
  const world = await start(t, { mount: 'size=200m' });
  if (!world) return;
  const { primary } = world;
  await world.publishGood();
  const before = await snapshot(primary.public);
  const filler = join(primary.root, 'filler');
  await appendFile(filler, Buffer.alloc(110_000_000));
  const repository = primary.repository('big/x86_64');
  repository.set({ name: 'big', version: '1-r0', contentBytes: 20_000_000, seed: 1 });
  await repository.write(primary.inbox);
  await world.untilReason('held', 'DISK', 'big/x86_64');
  assert.deepEqual(await snapshot(primary.public), before);
  const { generation } = await primary.status();
  await rm(filler);
  await primary.untilGeneration(generation + 1);
  assert.equal((await stat(join(primary.public, 'big/x86_64/big-1-r0.apk'))).size > 20_000_000, true);
});

async function run(program: string, ...args: string[]): Promise<void> {
  const child = spawn(program, args, { stdio: 'ignore' });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${program} ended with ${String(code)}`);
}
