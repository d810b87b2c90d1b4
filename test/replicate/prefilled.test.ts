import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import type { Lease } from '../../src/publish/ports.ts';
import { storedStates } from '../../src/replicate/ports.ts';
import { MirrorPush } from '../../src/replicate/push.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import { MirrorWorker } from '../../src/replicate/worker.ts';
import { systemClock } from '../../src/system/clock.ts';
import { silentLog } from '../../src/system/log.ts';
import { kinds } from '../contract/far.ts';
import { PublishWorld } from '../publish/world.ts';

const packageBytes = 100_000;
const packages = 6;

/** One push to a mirror of which nothing is known; the payload bytes that went out. */
async function bytesToBringIn(world: PublishWorld, transport: Transport): Promise<number> {
  let bytes = 0;
  const confirmed = Promise.withResolvers<void>();
  world.store.mirrors.open('m', 'there');
  world.store.mirrors.doubt('m');
  const deps = { store: world.store, clock: systemClock, log: silentLog };
  const events = {
    attempt: () => {},
    failed: (reason: string) => confirmed.reject(new Error(reason)),
    bytes: (count: number) => (bytes += count),
    confirmed: () => confirmed.resolve(),
  };
  const lease = (): Lease | null => world.publisher.lease();
  const push = new MirrorPush('m', transport, { ...deps, lease, graceMs: 1000, takes: () => true, events });
  const states = storedStates(world.store, 'm', '');
  const worker = new MirrorWorker('m', push, {
    ...deps,
    events,
    states,
    quiet: [],
    lookMs: 600_000,
    spreadMs: 0,
    random: () => 0,
  });
  const run = worker.run(new AbortController().signal);
  await confirmed.promise;
  worker.drain();
  await run;
  return bytes;
}

/** What a mirror that already holds the packages may cost, with the primary's times and with others. */
const bounds: Readonly<Record<string, readonly [same: number, other: number]>> = {
  directory: [10_000, 10_000],
  'rsync to rrsync': [10_000, 60_000],
  'rsync to rrsync -wo': [60_000, 60_000],
  'rsync to a plain account': [10_000, 60_000],
  // SFTP has no way to compare: with other times everything is sent once.
  'sftp to the embedded server': [10_000, packages * packageBytes + 10_000],
  'rclone to an S3 server': [10_000, packages * packageBytes + 10_000],
  'rclone to a local directory': [10_000, packages * packageBytes + 10_000],
  'rclone to a WebDAV server': [10_000, packages * packageBytes + 10_000],
  'sftp to sshd': [10_000, packages * packageBytes + 10_000],
};

for (const kind of kinds) {
  test(`${kind.name}: a mirror that another tool has filled is brought in without sending what it holds`, {
    timeout: 300_000,
  }, async (t) => {
    if (kind.missing !== undefined) {
      t.skip(kind.missing);
      return;
    }
    const scratch = mkdtempSync(join(tmpdir(), 'lockstepd-prefilled-'));
    t.after(() => rmSync(scratch, { recursive: true, force: true }));
    using world = new PublishWorld(scratch);
    await world.publisher.recover();
    const content: Record<string, string> = {};
    for (let n = 0; n < packages; n++) content[`p${n}@1-r0`] = randomBytes(packageBytes / 2).toString('hex');
    await world.publish({ 'main/x86_64': content });
    await using far = await kind.open();
    const bound = bounds[kind.name] ?? [0, 0];

    for (const [at, times] of (['same', 'other'] as const).entries()) {
      const place = far.place(times);
      cpSync(join(world.public, 'main'), join(place.root, 'main'), { recursive: true, preserveTimestamps: true });
      const directory = join(place.root, 'main/x86_64');
      rmSync(join(directory, 'APKINDEX.tar.gz'));
      if (times === 'other') for (const name of readdirSync(directory)) utimesSync(join(directory, name), 1e9, 1e9);
      // The index of this world is as long as all its packages, and must be sent.
      const index = statSync(join(world.public, 'main/x86_64/APKINDEX.tar.gz')).size;
      const bytes = (await bytesToBringIn(world, place.transport())) - index;
      t.diagnostic(`${kind.name}, ${times} times: ${bytes} bytes of ${packages * packageBytes}`);
      assert.ok(bytes <= (bound[at] ?? 0), `${bytes} bytes with the ${times} times, at most ${bound[at]}`);
      for (const name of readdirSync(join(world.public, 'main/x86_64'))) {
        const [ours, theirs] = [join(world.public, 'main/x86_64', name), join(directory, name)];
        assert.deepEqual(readFileSync(theirs), readFileSync(ours), name);
        if (far.lacks?.times) continue;
        assert.equal(Math.floor(statSync(theirs).mtimeMs / 1000), Math.floor(statSync(ours).mtimeMs / 1000), name);
      }
    }
    await world.publisher.stop();
  });
}
