import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { FaultWorld } from '../../support/fault-world.ts';
import { serveFiles } from '../../support/file-server.ts';
import { missingProgram, startSshd } from '../../support/sshd.ts';

const missing = missingProgram('sshd', 'rsync', 'ssh-keygen');
const index = 'main/x86_64/APKINDEX.tar.gz';

for (const type of ['directory', 'sftp', 'rsync'] as const) {
  test(`${type}: a mirror that is wiped is seen by the probe and filled again; an edited index waits for --force`, async (t) => {
    if (missing) return t.skip(`${missing} is not installed`);
    await using world = await FaultWorld.create();
    await using web = await serveFiles(join(world.primary.directory, 'mirrors'));
    await using sshd = await startSshd({ sftp: 'internal-sftp', rsync: null });
    await mkdir(world.at('paris'));
    const url = `, url: "${web.url}paris/"`;
    if (type === 'directory') world.directoryMirror('paris', world.at('paris'), url);
    else world.mirror('paris', sshd, { type, account: type, path: world.at('paris') }, url);
    await world.configure('schedule: { probe: 1s }');
    await world.primary.start();
    await world.publish();
    await world.untilCaughtUp('paris', 1);
    const served = async (): Promise<boolean> => {
      const { observed_generation: observed, observed_unknown_content: unknown } = await world.statusOf('paris');
      return observed === 1 && !unknown;
    };
    await world.primary.until('the probe', served);

    for (const name of await readdir(world.at('paris'))) await rm(join(world.at('paris'), name), { recursive: true });
    await world.primary.until('the probe to see it', () => world.primary.log.includes('"event":"mirror_drifted"'));
    await world.untilCaughtUp('paris', 1);
    await world.primary.until('the probe', served);

    const original = await readFile(join(world.at('paris'), index));
    await writeFile(join(world.at('paris'), index), Buffer.concat([original, Buffer.from('x')]));
    await world.untilTold('paris', {
      reason: 'content_unknown',
      says: /never published here.*lockstepd push paris --force/,
      waitsFor: 'person',
    });
    assert.notDeepEqual(await readFile(join(world.at('paris'), index)), original, 'it is left as it is');
    await world.primary.control('push', { mirror: 'paris', force: true });
    await world.primary.until('the index', async () =>
      (await readFile(join(world.at('paris'), index))).equals(original),
    );
    await world.untilCaughtUp('paris', 1);
  });
}

test('a mirror without URL that was wiped gets no index before its packages', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  await using sshd = await startSshd({ sftp: 'internal-sftp' });
  await mkdir(world.at('paris'));
  world.mirror('paris', sshd, { type: 'sftp', account: 'sftp', path: world.at('paris') });
  await world.configure();
  await world.primary.start();
  await world.publish();
  await world.untilCaughtUp('paris', 1);
  for (const name of await readdir(world.at('paris'))) await rm(join(world.at('paris'), name), { recursive: true });
  // One package changes, the others are known to be there: and are not.
  world.repository.set({ name: 'pkg-0', version: '9-r0', contentBytes: 3000, seed: 9 });
  await world.repository.write(world.primary.inbox);
  await world.untilCaughtUp('paris', 2);
  assert.match(world.primary.log, /"event":"mirror_drifted"/);
});

test('a trace that tells of a fellow primary vouches for no index: what no trusted key signed is an alarm, left alone until forced', async (t) => {
  if (missing) return t.skip(`${missing} is not installed`);
  await using world = await FaultWorld.create();
  await using sshd = await startSshd({ sftp: 'internal-sftp', rsync: null });
  for (const type of ['sftp', 'rsync'] as const) {
    await mkdir(world.at(type));
    world.mirror(type, sshd, { type, account: type, path: world.at(type) });
  }
  await world.configure();
  await world.primary.start();
  await world.publish();
  for (const type of ['sftp', 'rsync']) await world.untilCaughtUp(type, 1);
  const theirs = {
    version: 1,
    generation: 77,
    primary: 'two',
    published_at: new Date(Date.now() + 3_600_000).toISOString(),
    repositories: [{ path: 'main/x86_64', index: 'APKINDEX.tar.gz', index_sha256: 'f'.repeat(64), packages: 1 }],
  };
  for (const type of ['sftp', 'rsync']) {
    await writeFile(join(world.at(type), 'lockstep.json'), JSON.stringify(theirs));
    await writeFile(join(world.at(type), index), 'an index of theirs');
    await utimes(join(world.at(type), index), 1e9, 1e9);
  }
  await world.publish();
  const unknown = {
    reason: 'content_unknown',
    says: /never published here.*lockstepd push \w+ --force/,
    waitsFor: 'person',
  } as const;
  await world.untilTold('sftp', unknown);
  assert.equal(await readFile(join(world.at('sftp'), index), 'utf8'), 'an index of theirs');
  await world.primary.control('push', { mirror: 'sftp', force: true });
  await world.untilCaughtUp('sftp', 2);
});

test('a clock that is wrong is told, and lag does not follow it', async () => {
  await using world = await FaultWorld.create();
  await using web = await serveFiles(join(world.primary.directory, 'mirrors'), { skewSeconds: 7200 });
  await mkdir(world.at('paris'));
  world.directoryMirror('paris', world.at('paris'), `, url: "${web.url}paris/"`);
  await world.configure('schedule: { probe: 1s }');
  await world.primary.start();
  await world.publish();
  await world.primary.until('the skew', async () => {
    const { clock_skew_seconds: skew, observed_generation: observed } = await world.statusOf('paris');
    return observed === 1 && skew !== null && Math.abs(skew - 7200) <= 2;
  });
  assert.equal((await world.statusOf('paris')).observed_lag_seconds, 0);
});
