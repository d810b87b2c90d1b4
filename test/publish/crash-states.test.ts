import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import * as fc from 'fast-check';
import { writeFileDurable } from '../../src/system/durable.ts';
import type { Files } from '../../src/system/files.ts';
import { broken } from '../support/sim-broken.ts';
import { SimFiles } from '../support/sim-files.ts';
import type { Image } from '../support/sim-image.ts';
import { random } from '../fault/random.ts';
import { type Content, expectedFiles, graceMs, PublishWorld } from './world.ts';

const wantedStates = 10_000;
const imagesAtChange = 3;

type Repositories = Readonly<Record<string, Content>>;

const content: fc.Arbitrary<Content> = fc
  .dictionary(
    fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    fc.record({ version: fc.integer({ min: 1, max: 3 }), build: fc.integer({ min: 1, max: 2 }) }),
    { minKeys: 1 },
  )
  .map((packages) =>
    Object.fromEntries(
      Object.entries(packages).map(([name, p]) => [`${name}@${p.version}-r0`, `${name} ${p.version} build ${p.build}`]),
    ),
  );
const history = fc.record({
  seed: fc.integer({ min: 1, max: 0x7fffffff }),
  generations: fc.array(fc.dictionary(fc.constantFrom('m/x86_64', 'm/armhf'), content, { minKeys: 1 }), {
    minLength: 3,
    maxLength: 5,
  }),
});

interface Tally {
  states: number;
  recovered: number;
  readonly violations: string[];
}

/** A moment at which everything ended: what is left of the files and of the store, and what had been promised by then. */
interface Cut {
  readonly image: Image;
  readonly state: string;
  readonly promised: number;
}

/** What clients would find: every index that is served names only what is there, and no generation that was published is gone. */
function violation(image: Image, promised: number): string | null {
  const link = image.find('/srv/public')?.node;
  if (link === undefined && promised === 0) return null;
  if (link?.kind !== 'link') return `no link, generation ${promised} was published`;
  const files = image.filesBelow(`/srv/${link.target}`);
  const trace = files.get('lockstep.json') ?? '';
  let generation: { generation: number; repositories: { path: string; index: string; index_sha256: string }[] };
  try {
    generation = JSON.parse(trace);
  } catch {
    return `${link.target}: the trace is ${JSON.stringify(trace.slice(0, 30))}`;
  }
  if (generation.generation < promised) return `serves ${generation.generation}, ${promised} was published`;
  for (const { path, index, index_sha256 } of generation.repositories) {
    const text = files.get(`${path}/${index}`) ?? '';
    if (createHash('sha256').update(text).digest('hex') !== index_sha256) return `${path}: not the index of the trace`;
    for (const [file, bytes] of Object.entries(expectedFiles({ [path]: JSON.parse(text) as Content })))
      if (files.get(file) !== bytes) return `${file} is ${files.get(file) ?? 'absent'}`;
  }
  return null;
}

/** Publishes a history, with a look at what a crash leaves after every change. */
async function play(
  { seed, generations }: { seed: number; generations: readonly Repositories[] },
  tally: Tally,
  cutShare: number,
  wrap: (files: SimFiles) => Files = (files) => files,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-sim-'));
  const next = random(seed);
  const files = new SimFiles();
  const cuts: Cut[] = [];
  let promised = 0;
  const look = (where: string, at: SimFiles): void => {
    for (let n = 0; n < imagesAtChange; n++) {
      tally.states++;
      const found = violation(at.crash(next), promised);
      if (found !== null) tally.violations.push(`${where}: ${found}`);
    }
  };
  try {
    await files.mkdir('/srv');
    await (await files.open('/', 0)).sync();
    const world = new PublishWorld(directory, undefined, wrap(files));
    await world.publisher.recover();
    files.onChange = () => {
      look('published', files);
      if (next() < cutShare)
        cuts.push({ image: files.crash(next), state: copyState(directory, cuts.length), promised });
    };
    for (const generation of generations) {
      promised = (await world.publish(generation)).number;
      look('published', files);
      world.clock.nowMs += next() < 0.5 ? 60_000 : graceMs + 1;
      await world.publisher.prune();
    }
    await world.publisher.stop();
    world[Symbol.dispose]();
    for (const cut of cuts) {
      promised = cut.promised;
      const last = generations.at(-1) ?? {};
      await recoverFrom(cut, last, (after) => look('recovering', after), tally);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Starts on what a cut left, and publishes again. */
async function recoverFrom(
  cut: Cut,
  upload: Repositories,
  look: (files: SimFiles) => void,
  tally: Tally,
): Promise<void> {
  tally.recovered++;
  const files = new SimFiles(cut.image);
  files.onChange = () => look(files);
  using world = new PublishWorld(cut.state, undefined, files);
  await world.publisher.recover();
  const recovered = violation(files.image, cut.promised);
  if (recovered !== null) tally.violations.push(`recovered: ${recovered}`);
  world.clock.nowMs += 3 * graceMs;
  const again = await world.publish(upload);
  await world.publisher.prune();
  await world.publisher.stop();
  const published = violation(files.image, again.number);
  if (published !== null) tally.violations.push(`published again: ${published}`);
  const left = [...files.image.filesBelow('/srv/ingest').keys()].filter((name) => !name.startsWith('b/'));
  if (left.length > 0) tally.violations.push(`left over in ingest: ${left.join(' ')}`);
}

/** What SQLite keeps of the store: commits are synced, so a cut takes nothing of them. */
function copyState(directory: string, number: number): string {
  const copy = join(directory, `cut-${number}`);
  mkdirSync(join(copy, 'state'), { recursive: true });
  using db = new DatabaseSync(join(directory, 'state/state.db'));
  db.prepare('VACUUM INTO ?').run(join(copy, 'state/state.db'));
  return copy;
}

test('whatever a crash forgets or reorders, a served index names only what is there, and nothing published is lost', async (t) => {
  const tally: Tally = { states: 0, recovered: 0, violations: [] };
  await fc.assert(
    fc.asyncProperty(history, async (one) => {
      if (tally.states >= wantedStates) return;
      await play(one, tally, 0.1);
      assert.deepEqual(tally.violations, []);
    }),
    { numRuns: 200, endOnFailure: true },
  );
  t.diagnostic(`${tally.states} crash states, ${tally.recovered} of them recovered from`);
  assert.ok(tally.states >= wantedStates, `${tally.states} states`);
  assert.ok(tally.recovered > 0);
});

for (const [name, wrap] of Object.entries(broken)) {
  test(`teeth: ${name} is found out`, async () => {
    const tally: Tally = { states: 0, recovered: 0, violations: [] };
    for (const generations of fc.sample(history, { numRuns: 5, seed: 4 })) await play(generations, tally, 0, wrap);
    assert.ok(tally.violations.length > 0, `${tally.states} states and not one violation`);
  });
}

test('a file that is replaced durably has the old content or the new one, and the new one once that is said', async () => {
  const states = async (write: (files: SimFiles) => Promise<void>): Promise<Set<string>> => {
    const next = random(7);
    const found = new Set<string>();
    const files = new SimFiles();
    await files.mkdir('/d');
    await writeFileDurable('/d/f', 'the old content', {}, files);
    const look = (): void => {
      for (let n = 0; n < 200; n++) {
        const node = files.crash(next).find('/d/f')?.node;
        found.add(node?.kind === 'file' ? node.data.toString() : 'absent');
      }
    };
    await (await files.open('/', 0)).sync();
    files.onChange = look;
    await write(files);
    found.delete('the old content');
    const afterwards = files.crash(() => 0.99).find('/d/f')?.node;
    found.add(`afterwards ${afterwards?.kind === 'file' ? afterwards.data.toString() : 'absent'}`);
    return found;
  };
  const whole = await states((files) => writeFileDurable('/d/f', 'the new content', {}, files));
  assert.deepEqual([...whole].sort(), ['afterwards the new content', 'the new content']);
  for (const name of ['no sync of files', 'no sync of directories']) {
    const wrap = broken[name];
    assert.ok(wrap);
    const torn = await states((files) => writeFileDurable('/d/f', 'the new content', {}, wrap(files)));
    assert.notDeepEqual([...torn].sort(), [...whole].sort(), name);
  }
});

test('a prune that was cut off does not keep the next batch from being published', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-cut-prune-'));
  try {
    using world = new PublishWorld(directory, { keepTreesForMs: 1e9, maxTrees: 9 });
    await world.publisher.recover();
    await world.publish({ m: { 'a@1-r0': 'a', 'b@1-r0': 'b' } });
    await world.publish({ m: { 'b@1-r0': 'b' } });
    // The files were removed, that they were was not recorded.
    for (const tree of world.store.generations.trees())
      rmSync(join(world.root, 'trees', tree.name, 'm/a-1-r0.apk'), { force: true });
    await world.restart();
    await world.publish({ m: { 'b@1-r0': 'b', 'c@1-r0': 'c' } });
    assert.equal(world.files()['m/c-1-r0.apk'], 'c');
    await world.publisher.stop();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a recalled package stays gone from every tree once that is said, whatever a crash forgets', async () => {
  const comesBack = async (wrap: (files: SimFiles) => Files): Promise<boolean> => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstepd-sim-recall-'));
    try {
      const files = new SimFiles();
      await files.mkdir('/srv');
      await (await files.open('/', 0)).sync();
      using world = new PublishWorld(directory, { keepTreesForMs: 1e9, maxTrees: 9 }, wrap(files));
      await world.publisher.recover();
      await world.publish({ m: { 'a@1-r0': 'a', 'b@1-r0': 'b' } });
      await world.publish({ m: { 'a@1-r0': 'a', 'b@2-r0': 'b 2' } });
      const { recalls } = world.store;
      recalls.add({ asked: 'a', who: 'alice', why: 'leaked', atMs: 1 }, recalls.find('m/a-1-r0.apk', 9));
      await world.publisher.recall();
      await world.publisher.stop();
      const next = random(3);
      const paths = Array.from({ length: 100 }, () => [...files.crash(next).filesBelow('/srv/trees').keys()]).flat();
      return paths.some((path) => path.endsWith('/a-1-r0.apk'));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
  assert.equal(await comesBack((files) => files), false);
  const forgetful = broken['no sync of directories'];
  assert.ok(forgetful);
  assert.equal(await comesBack(forgetful), true);
});
