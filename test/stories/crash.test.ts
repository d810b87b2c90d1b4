import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { Primary } from '../support/primary.ts';

const kills = 15;

/** xorshift32: the delays differ between kills and are the same in each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** A tree is whole while the link names it: when a running daemon has switched meanwhile, what is read is the next one. */
function assertWhole(primary: Primary): string {
  const link = (): string => {
    const { ino, ctimeNs } = lstatSync(primary.public, { bigint: true });
    return `${ino} ${ctimeNs}`;
  };
  for (;;) {
    const before = link();
    try {
      return assertTreeWhole(primary);
    } catch (error) {
      if (link() === before) throw error;
    }
  }
}

/** Everything that a served index names is there with its size and identity. Reads one tree, by the name that the link has now. */
function assertTreeWhole(primary: Primary): string {
  const tree = readlinkSync(primary.public);
  assert.match(tree, /^trees\/[a-z]$/);
  const root = join(primary.root, tree);
  const trace = JSON.parse(readFileSync(join(root, 'lockstep.json'), 'utf8')) as {
    generation: number;
    repositories: { path: string; index_sha256: string; packages: number }[];
  };
  assert.ok(trace.repositories.length > 0);
  for (const { path, index_sha256, packages } of trace.repositories) {
    const index = readFileSync(join(root, path, 'APKINDEX.tar.gz'));
    assert.equal(
      createHash('sha256').update(index).digest('hex'),
      index_sha256,
      `${path} of generation ${trace.generation}`,
    );
    const stanzas = gunzipSync(index)
      .toString('latin1')
      .split('\n\n')
      .filter((s) => s.includes('\nP:'));
    assert.equal(stanzas.length, packages);
    for (const stanza of stanzas) {
      const field = (name: string): string => new RegExp(`(?:^|\\n|\\0)${name}:(.*)`).exec(stanza)?.[1] ?? '';
      const file = join(root, path, `${field('P')}-${field('V')}.apk`);
      const bytes = readFileSync(file);
      assert.equal(bytes.length, Number(field('S')), file);
      assert.equal(`Q1${createHash('sha1').update(controlOf(bytes)).digest('base64')}`, field('C'), file);
    }
  }
  return `${tree} ${trace.generation}`;
}

/** The second of the three gzip members of a package that makePackage made: they are stored, so their starts are plain to see. */
function controlOf(bytes: Buffer): Buffer {
  const start = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  const second = bytes.indexOf(start, 1);
  return bytes.subarray(second, bytes.indexOf(start, second + 1));
}

test('killed at any moment, the daemon has served a whole generation and goes on to the newest', {
  timeout: 900_000,
}, async () => {
  await using primary = await Primary.create({
    inbox: '    settle: 300ms',
    repositories: ['main/{arch}'],
    more: 'publish: { grace: 0s, keep_trees_for: 0s, max_trees: 2 }\nguards: { downgrade: allow, rebuilt: allow }',
  });
  const next = random(20261122);
  const repositories = ['main/x86_64', 'main/armhf'].map((path) => primary.repository(path));
  let seed = 1;
  const change = async (count: number): Promise<void> => {
    for (const repository of repositories) {
      for (let n = 0; n < count; n++) {
        const which = Math.floor(next() * 60);
        // Sometimes the same version with other bytes: the name in the tree stays, the file must not be the old one.
        const version = next() < 0.5 ? '1-r0' : `${seed}-r0`;
        repository.set({ name: `pkg-${which}`, version, contentBytes: 4000, seed: seed++ });
      }
      await repository.write(primary.inbox);
    }
  };
  await change(60);
  await primary.start();
  await primary.untilGeneration(1);
  const seen = new Set<string>();
  for (let n = 0; n < kills; n++) {
    const { generation } = await primary.status();
    await change(8);
    // However slow the machine: now and then one goes out, and the next one is under way.
    if (n % 3 === 0) {
      await primary.untilGeneration(generation + 1);
      await change(8);
    }
    await sleep(next() * 250);
    await primary.stop('SIGKILL');
    seen.add(assertWhole(primary));
    await primary.start();
    seen.add(assertWhole(primary));
  }
  await change(3);
  const wanted = repositories.map((r) => ({
    path: r.path,
    sha256: createHash('sha256').update(r.index()).digest('hex'),
  }));
  await primary.until('the newest batch', async () => {
    const { repositories: served } = await primary.status();
    return wanted.every((w) => served.some((s) => s.path === w.path && s.index_sha256 === w.sha256));
  });
  seen.add(assertWhole(primary));
  assert.ok(seen.size >= kills / 3, `generations were published between the kills: ${[...seen].join(', ')}`);
  await primary.until(
    'the private copies to be gone',
    () => readdirSync(join(primary.root, 'ingest/bpo')).length === 0,
  );
  assert.equal(await primary.stop(), 0);
  assert.deepEqual((await readdir(join(primary.root, 'ingest'))).sort(), ['bpo']);
  assert.deepEqual((await readdir(primary.root)).sort(), [
    '.lock',
    'inbox',
    'indexes',
    'ingest',
    'public',
    'quarantine',
    'trees',
  ]);
  for (const entry of await readdir(join(primary.root, 'trees'), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const { mode } = await lstat(path);
    assert.ok(entry.isFile() || entry.isDirectory(), path);
    assert.equal(mode & 0o7777, entry.isFile() ? 0o644 : 0o755, path);
    assert.match(entry.name, /^(?:[a-z0-9_-]+|APKINDEX\.tar\.gz|lockstep\.json|pkg-\d+-\d+-r0\.apk)$/, path);
  }
});
