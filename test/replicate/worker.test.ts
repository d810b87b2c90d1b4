import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MirrorConfig } from '../../src/config/mirror-schema.ts';
import { parseTemplate } from '../../src/config/template.ts';
import { gatherFacts } from '../../src/daemon/facts.ts';
import { TransportError } from '../../src/errors.ts';
import { neverScrubbed } from '../../src/observe/scrub.ts';
import type { MirrorFacts } from '../../src/observe/status.ts';
import type { Lease } from '../../src/publish/ports.ts';
import { storedStates } from '../../src/replicate/ports.ts';
import { MirrorPush } from '../../src/replicate/push.ts';
import type { RemoteFile, Transport, Wave } from '../../src/replicate/transport.ts';
import { MirrorWorker } from '../../src/replicate/worker.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { type Clock, systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';

/** A mirror in memory that records what is done to it and fails on demand. */
class MemoryTransport implements Transport {
  readonly files = new Map<string, RemoteFile>();
  readonly calls: string[] = [];
  fault: ((call: string) => TransportError | null) | null = null;
  beforePut: (() => void) | null = null;

  list(directory: string): Promise<ReadonlyMap<string, RemoteFile>> {
    this.#note(`list ${directory}`);
    const inside = [...this.files].filter(([path]) => posix.dirname(path) === directory);
    return Promise.resolve(new Map(inside.map(([path, file]) => [posix.basename(path), file])));
  }

  put(_root: string, waves: readonly Wave[]): Promise<void> {
    this.beforePut?.();
    for (const wave of waves.filter((some) => some.length > 0)) {
      this.#note(`put ${wave.map((f) => f.path.split('/').at(-1)).join(' ')}`);
      for (const { path, size, mtimeSeconds } of wave) this.files.set(path, { size, mtimeSeconds });
    }
    return Promise.resolve();
  }

  remove(paths: readonly string[]): Promise<void> {
    this.#note(`remove ${paths.join(' ')}`);
    for (const path of paths) this.files.delete(path);
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #note(call: string): void {
    const error = this.fault?.(call);
    if (error) throw error;
    this.calls.push(call);
  }
}

/** Runs work that comes in pieces to its end. */
function toEnd<T>(pieces: Generator<void, T>): T {
  for (;;) {
    const step = pieces.next();
    if (step.done === true) return step.value;
  }
}

interface World extends AsyncDisposable {
  readonly store: Store;
  readonly transport: MemoryTransport;
  readonly worker: MirrorWorker;
  readonly failures: string[];
  /** Publishes a generation in which the repository names exactly these packages; `a=2` is `a` with other bytes than `a`. */
  publish(...names: string[]): Promise<void>;
  publishTo(repository: string, ...names: string[]): Promise<void>;
  /** Publishes a generation in which the index of main/x86_64 has left. */
  leave(): void;
  untilInStep(): Promise<void>;
}

async function createWorld(
  graceMs = 3_600_000,
  now = (): number => systemClock.now(),
  takes = (_repository: string): boolean => true,
): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-worker-'));
  const store = openStore(directory);
  const transport = new MemoryTransport();
  const failures: string[] = [];
  let number = 0;
  store.mirrors.open('paris', 'memory');
  const tree = join(directory, 'tree');
  await mkdir(tree);
  await writeFile(join(tree, 'lockstep.json'), '{}');
  const lease = (): Lease | null => {
    const current = store.generations.current();
    return current && { generation: current.number, directory: tree, release: () => {} };
  };
  let skippedMs = 0;
  // Waits end after 20 ms, and have taken as long as they should.
  const clock: Clock = {
    now,
    monotonic: () => systemClock.monotonic() + skippedMs,
    sleep: async (ms, options) => {
      await systemClock.sleep(Math.min(ms, 20), options);
      skippedMs += Math.max(0, ms - 20);
    },
  };
  const deps = {
    store,
    lease,
    graceMs,
    clock,
    random: () => 0,
    log: silentLog,
    quiet: [],
    lookMs: 600_000,
    spreadMs: 0,
  };
  const events = {
    attempt: () => {},
    failed: (reason: string) => failures.push(reason),
    bytes: () => {},
    confirmed: () => {},
  };
  const push = new MirrorPush('paris', transport, { ...deps, events, takes });
  const worker = new MirrorWorker('paris', push, { ...deps, events, states: storedStates(store, 'paris', '') });
  const stop = new AbortController();
  const running = worker.run(stop.signal).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  const publishTo = async (repository: string, ...names: string[]): Promise<void> => {
    number++;
    const candidate = store.staging.newCandidate('b', repository, 'APKINDEX.tar.gz');
    store.staging.add(
      candidate,
      names.map((name) => ({
        name: name.split('=')[0] ?? '',
        version: '1-r0',
        arch: 'x86_64',
        identity: name.padEnd(40, '0'),
        size: 10,
        buildTime: null,
      })),
    );
    const { base } = toEnd(store.staging.compare(candidate));
    for (const page of store.staging.rows(candidate, ['missing'])) {
      for (const row of page)
        store.staging.setReady(row.id, {
          source: 'ingest/x',
          sha256: row.entry.identity,
          mtimeSeconds: 5,
          packageArch: 'x86_64',
          signedBy: null,
        });
    }
    const index = {
      file: 'APKINDEX.tar.gz' as const,
      sha256: `index-${number}`,
      size: 100,
      mtimeSeconds: number,
      packages: names.length,
      signedBy: 'k',
      builder: 'b',
      description: null,
      newestBuildTime: null,
      source: null,
    };
    const intent = { number, publishedAtMs: Date.now(), tree: 'a', batch: 'x', added: 0, removed: 0 };
    store.journal.commit(
      toEnd(store.journal.begin(intent, [{ repository, candidate, base, index }])),
      null,
      Date.now(),
    );
    toEnd(store.staging.drop(candidate));
    worker.wake();
  };
  return {
    store,
    transport,
    worker,
    failures,
    publish: (...names) => publishTo('main/x86_64', ...names),
    publishTo,
    leave: () => {
      number++;
      const intent = { number, publishedAtMs: Date.now(), tree: 'a', batch: 'x', added: 0, removed: 0 };
      const removals = [{ repository: 'main/x86_64', file: 'APKINDEX.tar.gz' as const, base: number - 1 }];
      const times = { settleMs: null, copyMs: null, verifyMs: null };
      store.journal.commit(toEnd(store.journal.begin(intent, [], { removals, times })), null, Date.now());
      worker.wake();
    },
    untilInStep: async () => {
      for (const deadline = performance.now() + 60_000; performance.now() < deadline; await sleep(10))
        if (worker.state.phase === 'in-sync' && store.mirrors.get('paris').confirmed === number) return;
      throw new Error(`not in step: ${JSON.stringify(worker.state)} ${transport.calls.join('; ')}`);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      store[Symbol.dispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Until a file has left the mirror, or for a minute. */
async function untilGone({ transport }: World, path: string): Promise<void> {
  for (const deadline = performance.now() + 60_000; transport.files.has(path); await sleep(10))
    if (performance.now() > deadline) return;
}

test('a repository that leaves: its index goes at once, also from a mirror that nothing is known of', async () => {
  await using world = await createWorld();
  await world.publish('a');
  await world.untilInStep();
  world.transport.calls.length = 0;
  world.leave();
  await world.untilInStep();
  assert.deepEqual(world.transport.calls.slice(0, 2), ['put lockstep.json', 'remove main/x86_64/APKINDEX.tar.gz']);
  world.transport.calls.length = 0;
  world.store.mirrors.doubt('paris');
  world.worker.wake();
  await world.untilInStep();
  assert.deepEqual(world.transport.calls.slice(0, 2), ['put lockstep.json', 'remove main/x86_64/APKINDEX.tar.gz']);
});

test('an unknown mirror is compared once, then gets only what changed: packages before the index', async () => {
  await using world = await createWorld();
  world.transport.files.set('main/x86_64/a-1-r0.apk', { size: 10, mtimeSeconds: 5 });
  await world.publish('a', 'b');
  await world.untilInStep();
  assert.deepEqual(world.transport.calls, [
    'list main/x86_64',
    'put b-1-r0.apk',
    'put APKINDEX.tar.gz lockstep.json',
    // Once in a life: the process before this one may have left temporary files.
    'list main/x86_64',
    'list .',
  ]);
  world.transport.calls.length = 0;
  await world.publish('a', 'b', 'c');
  await world.untilInStep();
  assert.deepEqual(world.transport.calls, ['put c-1-r0.apk', 'put APKINDEX.tar.gz lockstep.json']);
});

test('what takes the place of other bytes travels with the indexes, after everything that is new', async () => {
  await using world = await createWorld();
  world.transport.files.set('main/x86_64/a-1-r0.apk', { size: 9, mtimeSeconds: 5 });
  await world.publish('a', 'b');
  await world.untilInStep();
  assert.deepEqual(world.transport.calls.slice(0, 4), [
    'list main/x86_64',
    'put b-1-r0.apk',
    'put a-1-r0.apk',
    'put APKINDEX.tar.gz lockstep.json',
  ]);
  world.transport.calls.length = 0;
  await world.publish('a=2', 'b', 'c');
  await world.untilInStep();
  assert.deepEqual(world.transport.calls, ['put c-1-r0.apk', 'put a-1-r0.apk', 'put APKINDEX.tar.gz lockstep.json']);
});

test('strangers go only when the index that may name them is replaced; what is not ours stays', async () => {
  await using world = await createWorld();
  world.transport.files.set('main/x86_64/old-1-r0.apk', { size: 1, mtimeSeconds: 1 });
  world.transport.files.set('main/x86_64/README', { size: 1, mtimeSeconds: 1 });
  await world.publish('a');
  await world.untilInStep();
  // The trace goes once more: its sync is what makes a removal durable.
  const end = ['put APKINDEX.tar.gz lockstep.json', 'remove main/x86_64/old-1-r0.apk', 'put lockstep.json'];
  const changes = world.transport.calls.filter((call) => !call.startsWith('list'));
  assert.deepEqual(changes.slice(-3), end);
  assert.ok(world.transport.files.has('main/x86_64/README'));
});

test('an account that may only write is sent everything', async () => {
  await using world = await createWorld();
  world.transport.fault = (call) =>
    call.startsWith('list') ? new TransportError('option_refused', 'permanent', 'write only') : null;
  await world.publish('a', 'b');
  await world.untilInStep();
  assert.deepEqual(world.transport.calls, ['put a-1-r0.apk b-1-r0.apk', 'put APKINDEX.tar.gz lockstep.json']);
});

test('a generation that comes out during a push is taken along: the indexes go once', async () => {
  await using world = await createWorld();
  await world.publish('a');
  await world.untilInStep();
  world.transport.calls.length = 0;
  const published: Promise<void>[] = [];
  world.transport.beforePut = () => {
    world.transport.beforePut = null;
    published.push(world.publish('a', 'b', 'c'));
  };
  await world.publish('a', 'b');
  await Promise.all(published);
  await world.untilInStep();
  const puts = world.transport.calls;
  assert.equal(puts[0], 'put b-1-r0.apk');
  assert.ok(puts.includes('put c-1-r0.apk'));
  assert.equal(world.store.mirrors.get('paris').confirmed, 3);
});

test('a failure that only a person can mend blocks, a push by hand goes on where it stopped', async () => {
  await using world = await createWorld();
  world.transport.fault = (call) =>
    call.startsWith('put APK') ? new TransportError('permission', 'permanent', 'read-only account') : null;
  await world.publish('a');
  while (world.worker.state.phase !== 'blocked') await sleep(5);
  assert.deepEqual(world.failures, ['permission']);
  assert.ok(!world.transport.files.has('main/x86_64/APKINDEX.tar.gz'));
  world.transport.fault = null;
  world.worker.pushNow();
  await world.untilInStep();
  assert.ok(world.transport.files.has('main/x86_64/APKINDEX.tar.gz'));
});

test('packages leave the mirror when the grace period is over, not before', async () => {
  let laterMs = 0;
  await using world = await createWorld(3_600_000, () => Date.now() + laterMs);
  await world.publish('a', 'b');
  await world.untilInStep();
  await world.publish('a');
  await world.untilInStep();
  await sleep(100);
  assert.ok(world.transport.files.has('main/x86_64/b-1-r0.apk'), 'clients still hold the old index');
  laterMs = 3_600_000;
  await untilGone(world, 'main/x86_64/b-1-r0.apk');
  assert.ok(!world.transport.files.has('main/x86_64/b-1-r0.apk'));
  assert.ok(world.transport.files.has('main/x86_64/a-1-r0.apk'));
});

test('what leaves after the clock was set back is pruned, though its time was pruned before', async () => {
  await using world = await createWorld(0);
  await world.publish('a', 'b');
  await world.untilInStep();
  world.store.mirrors.pruned('paris', Date.now() + 86_400_000);
  await world.publish('a');
  await world.untilInStep();
  await untilGone(world, 'main/x86_64/b-1-r0.apk');
  assert.ok(!world.transport.files.has('main/x86_64/b-1-r0.apk'));
});

test('an account that may not delete is in step all the same', async () => {
  await using world = await createWorld(0);
  world.transport.fault = (call) =>
    call.startsWith('remove') ? new TransportError('option_refused', 'permanent', 'no deletions') : null;
  await world.publish('a', 'b');
  await world.untilInStep();
  await world.publish('a');
  await world.untilInStep();
  assert.deepEqual(world.failures, []);
});

test('what a generation takes away that came out meanwhile stays until its index is there', async () => {
  await using world = await createWorld(0);
  await world.publish('a', 'b');
  await world.untilInStep();
  world.transport.calls.length = 0;
  const published: Promise<void>[] = [];
  world.transport.beforePut = () => {
    world.transport.beforePut = null;
    published.push(world.publish('a', 'c'));
  };
  // The second put of this push is that of the indexes: the third generation comes too late to be taken along.
  await world.publish('a', 'b', 'c');
  await Promise.all(published);
  await world.untilInStep();
  const { calls } = world.transport;
  const removal = calls.indexOf('remove main/x86_64/b-1-r0.apk');
  const indexes = calls.flatMap((call, at) => (call.startsWith('put APK') ? [at] : []));
  assert.equal(indexes.length, 2, calls.join('; '));
  assert.ok(removal > (indexes[1] ?? Infinity), calls.join('; '));
});

test('a file that the compared generation did not want and the next one does stays', async () => {
  await using world = await createWorld(0);
  world.transport.files.set('main/x86_64/c-1-r0.apk', { size: 10, mtimeSeconds: 1 });
  world.transport.fault = () => new TransportError('permission', 'permanent', 'not yet');
  await world.publish('a');
  await world.publishTo('other/x86_64', 'a');
  while (world.worker.state.phase !== 'blocked') await sleep(5);
  const published: Promise<void>[] = [];
  world.transport.fault = (call) => {
    // The first repository has been compared by now.
    if (call === 'list other/x86_64' && published.length === 0) published.push(world.publish('a', 'c'));
    return null;
  };
  world.worker.pushNow();
  while (published.length === 0) await sleep(5);
  await Promise.all(published);
  await world.untilInStep();
  assert.deepEqual(world.transport.files.get('main/x86_64/c-1-r0.apk'), { size: 10, mtimeSeconds: 5 });
});

test('temporary files of a push that was cut off go with the next one that ends well', async () => {
  await using world = await createWorld();
  await world.publish('a');
  await world.untilInStep();
  const left = ['main/x86_64/.b-1-r0.apk.lockstepd-0a1b2c', 'main/x86_64/.b-1-r0.apk.Xy12Zz', '.lockstep.json.Xy12Zz'];
  world.transport.fault = (call) => {
    if (!call.startsWith('put')) return null;
    world.transport.fault = null;
    for (const path of [...left, '.htaccess', '.well-known.secret']) {
      world.transport.files.set(path, { size: 1, mtimeSeconds: 1 });
    }
    return new TransportError('closed', 'retryable', 'cut off');
  };
  await world.publish('a', 'b');
  await world.untilInStep();
  assert.deepEqual([...world.transport.files.keys()].sort(), [
    '.htaccess',
    '.well-known.secret',
    'lockstep.json',
    'main/x86_64/APKINDEX.tar.gz',
    'main/x86_64/a-1-r0.apk',
    'main/x86_64/b-1-r0.apk',
  ]);
  world.transport.calls.length = 0;
  await world.publish('a', 'b', 'c');
  await world.untilInStep();
  assert.ok(!world.transport.calls.some((call) => call.startsWith('list')), 'a push after a good one looks at nothing');
});

test('a wall clock that is set back does not stretch the wait for the next try', async () => {
  let setBackMs = 0;
  await using world = await createWorld(3_600_000, () => Date.now() - setBackMs);
  world.transport.fault = () => new TransportError('closed', 'retryable', 'cut off');
  await world.publish('a');
  while (world.worker.state.phase !== 'waiting') await sleep(5);
  setBackMs = 86_400_000;
  world.transport.fault = null;
  await world.untilInStep();
});

test('a mirror that takes a part is sent, compared and pruned nothing else', async () => {
  await using world = await createWorld(0, undefined, (repository) => repository === 'main/x86_64');
  const foreign = 'other/x86_64/stranger-1-r0.apk';
  world.transport.files.set(foreign, { size: 1, mtimeSeconds: 1 });
  await world.publish('a', 'b');
  await world.publishTo('other/x86_64', 'c', 'd');
  await world.untilInStep();
  await world.publishTo('other/x86_64', 'c', 'e');
  await world.untilInStep();
  await world.publish('a');
  await world.untilInStep();
  await untilGone(world, 'main/x86_64/b-1-r0.apk');
  assert.deepEqual([...world.transport.files.keys()].sort(), [
    'lockstep.json',
    'main/x86_64/APKINDEX.tar.gz',
    'main/x86_64/a-1-r0.apk',
    foreign,
  ]);
  assert.ok(!world.transport.calls.some((call) => call.startsWith('list other')), world.transport.calls.join('; '));
});

test('a push that is blocked by hand ends, what it brought is looked at when it goes on', async () => {
  await using world = await createWorld();
  await world.publish('a');
  await world.untilInStep();
  world.worker.block('by root: disks');
  await world.publish('a', 'b');
  await sleep(100);
  assert.equal(world.worker.state.phase, 'blocked');
  world.worker.pushNow();
  await sleep(50);
  assert.equal(world.store.mirrors.get('paris').confirmed, 1);
  assert.equal(world.store.mirrorStates.get('paris')?.saved.note, 'by root: disks');
  world.worker.unblock();
  await world.untilInStep();
  assert.equal(world.store.mirrorStates.get('paris'), null);
});

test('what a mirror need not hold is no lag', async () => {
  await using world = await createWorld(3_600_000, undefined, (repository) => repository === 'main/x86_64');
  await world.publish('a');
  await world.untilInStep();
  world.worker.block('by root');
  const parsed = parseTemplate('other/{arch}');
  assert.ok('value' in parsed);
  const config: MirrorConfig = {
    name: 'paris',
    url: null,
    transport: { type: 'directory', path: '/mnt' },
    takeoverAfterMs: null,
    part: { include: [], exclude: [parsed.value] },
    bytesPerSecond: null,
    quiet: [],
  };
  const keys = { stateOf: () => 'valid' as const, problems: () => [] };
  const facts = (): MirrorFacts => {
    const { worker, store } = world;
    const scrub = { ...neverScrubbed, damaged: [] };
    const sources = { mirrors: [{ config, worker }], keys, scrub, announcements: [], upstreams: new Map(), nowMs: 0 };
    const [mirror] = gatherFacts(store, sources).mirrors;
    assert.ok(mirror);
    return mirror;
  };
  await world.publishTo('other/x86_64', 'b');
  assert.deepEqual([facts().generation, facts().pushedMissingSinceMs], [2, null]);
  await world.publish('a', 'c');
  const published = world.store.generations.publishedAt(3);
  assert.deepEqual([facts().generation, facts().pushedMissingSinceMs], [2, published]);
  assert.equal(facts().blockedBy, 'operator');
});
