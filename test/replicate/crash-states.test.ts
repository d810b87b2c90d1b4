import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import test from 'node:test';
import * as fc from 'fast-check';
import type { Transport } from '../../src/replicate/transport.ts';
import type { Clock } from '../../src/system/clock.ts';
import type { Files } from '../../src/system/files.ts';
import { random } from '../fault/random.ts';
import type { Content } from '../publish/world.ts';
import { broken, writtenInPlace } from '../support/sim-broken.ts';
import type { SimFiles } from '../support/sim-files.ts';
import { directoryTo, type Process, SimMirror, sftpTo } from '../support/sim-mirror.ts';
import { type Cut, MirrorWorld, type Repositories } from './crash-world.ts';

const wantedStates = 12_000;
const imagesAtChange = 3;
/** A push that is cut off again and again gets through at last. */
const cutsInARow = 4;

/** `SEED` and `SEED_PATH` of a failure that was printed play it again. */
const { SEED, SEED_PATH } = process.env;
const replay = SEED === undefined ? {} : { seed: Number(SEED), path: SEED_PATH ?? '' };

const repository = fc.constantFrom('m/x86_64', 'm/armhf', 'n/x86_64');
const content: fc.Arbitrary<Content> = fc
  .dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.integer({ min: 1, max: 3 }), { minKeys: 1 })
  .map((packages) =>
    Object.fromEntries(
      Object.entries(packages).map(([name, version]) => [`${name}@${version}-r0`, `${name} ${version}`]),
    ),
  );
const cut: fc.Arbitrary<Cut> = fc.record({
  changes: fc.integer({ min: 0, max: 90 }),
  fate: fc.constantFrom('power', 'kill'),
});
const step = fc.record({
  act: fc.oneof(
    { weight: 6, arbitrary: fc.dictionary(repository, content, { minKeys: 1 }) },
    { weight: 1, arbitrary: fc.record({ leaves: repository }) },
    { weight: 1, arbitrary: fc.record({ recalls: repository }) },
  ) as fc.Arbitrary<Repositories | { leaves: string } | { recalls: string }>,
  cuts: fc.array(cut, { maxLength: cutsInARow }),
  pushed: fc.integer({ min: 0, max: 4 }).map((n) => n > 0),
  graceEnds: fc.boolean(),
  restarts: fc.boolean(),
});
const story = fc.record({
  seed: fc.integer({ min: 1, max: 0x7fffffff }),
  steps: fc.array(step, { minLength: 3, maxLength: 7 }),
});
type Story = typeof story extends fc.Arbitrary<infer T> ? T : never;

interface Kind {
  readonly connect: (mirror: SimMirror, process: Process, clock: Clock) => Transport;
  readonly ordered: boolean;
  /** Removals survive a power cut once they are said; otherwise only those before an index that came later. */
  readonly removesDurably: boolean;
  readonly wrap?: ((files: SimFiles) => Files) | undefined;
}

const kinds = {
  'directory, any order': { connect: directoryTo, ordered: false, removesDurably: true },
  'directory, ordered journal': { connect: directoryTo, ordered: true, removesDurably: true },
  'sftp, ordered journal': { connect: sftpTo, ordered: true, removesDurably: false },
} satisfies Readonly<Record<string, Kind>>;

class Tally {
  states = 0;
  cuts = 0;
  readonly violations: string[] = [];
}

async function play({ seed, steps }: Story, kind: Kind, tally: Tally): Promise<void> {
  const mirror = await SimMirror.create(random(seed), kind);
  await using world = await MirrorWorld.create(mirror, kind.connect);
  const judge = (where: string, image = mirror.image): void => {
    tally.states++;
    const found = world.violation(image);
    if (found !== null) tally.violations.push(`${where}: ${found}`);
  };
  mirror.onChange = () => {
    judge('readers');
    for (let n = 0; n < imagesAtChange; n++) judge('crash', mirror.crash());
  };
  for (const { act, cuts, pushed, graceEnds, restarts } of steps) {
    if ('leaves' in act) await world.leave(act.leaves as string);
    else if ('recalls' in act) await world.recall(act.recalls as string);
    else await world.publish(act);
    if (graceEnds) world.passGrace();
    await world.primary.publisher.prune();
    if (world.primary.store.generations.current() === null || !pushed) continue;
    for (const one of cuts) {
      if ((await world.push(one)) !== 'ok') tally.cuts++;
      judge('cut off');
    }
    await inStep(world, tally, judge);
    if (restarts) await world.endProcess();
  }
  world.passGrace();
  world.passGrace();
  if (world.primary.store.generations.current() === null) return;
  await inStep(world, tally, judge);
  await world.primary.publisher.prune();
  const surplus = world.surplus(mirror.image, kind.removesDurably);
  if (surplus.length > 0) tally.violations.push(`at the end: too much: ${surplus.join(' ')}`);
}

/** A push that nothing cuts off brings the mirror in step, and nothing of that is lost afterwards. */
async function inStep(
  world: MirrorWorld,
  tally: Tally,
  judge: (where: string, image?: SimMirror['image']) => void,
): Promise<void> {
  let outcome = await world.push();
  // What a cut took away is found before the indexes go: the push is tried again, as the daemon does.
  if (world.drifted) outcome = await world.push();
  if (outcome !== 'ok') tally.violations.push(`the next push: ${outcome}`);
  judge('in step');
  for (const image of [world.mirror.image, world.mirror.crash(), world.mirror.crash()]) {
    judge('after the push', image);
    const surplus = world.surplus(image, false);
    if (surplus.length > 0) tally.violations.push(`after the push: ${surplus.join(' ')}`);
  }
}

for (const [name, kind] of Object.entries(kinds)) {
  test(`${name}: whatever a cut leaves, an index on the mirror names only what is there, and the next push mends it`, async (t) => {
    const total = new Tally();
    await fc.assert(
      fc.asyncProperty(story, async (one) => {
        if (total.states >= wantedStates) return;
        const tally = new Tally();
        await play(one, kind, tally);
        total.states += tally.states;
        total.cuts += tally.cuts;
        assert.deepEqual(tally.violations.slice(0, 3), []);
      }),
      { numRuns: 300, endOnFailure: true, ...replay },
    );
    t.diagnostic(`${total.states} crash states, ${total.cuts} cuts recovered from`);
    assert.ok(total.states >= wantedStates, `${total.states} states`);
    assert.ok(total.cuts > 0);
  });
}

/** The same transport under a worker that does things in a wrong order. */
function disordered(kind: Kind, change: (transport: Transport) => Partial<Transport>): Kind {
  return {
    ...kind,
    connect: (mirror, process, clock) => {
      const transport = kind.connect(mirror, process, clock);
      return { ...transport, ...change(transport) };
    },
  };
}

function wrongOnes(kind: Kind): Readonly<Record<string, Kind>> {
  return {
    'no sync of files': { ...kind, wrap: broken['no sync of files'] },
    'every file under its own name at once': { ...kind, wrap: writtenInPlace },
    'indexes before packages': disordered(kind, (transport) => ({
      put: (root, waves, options) => transport.put(root, waves.toReversed(), options),
    })),
    'prune first': disordered(kind, (transport) => ({
      put: async (root, waves, options) => {
        for (const one of new Set(waves.flat().map((file) => posix.dirname(file.path)))) {
          if (one === '.') continue;
          const named = Object.keys(JSON.parse(await readFile(join(root, one, 'APKINDEX.tar.gz'), 'utf8')) as Content);
          const wanted = new Set(named.map((key) => `${key.replace('@', '-')}.apk`));
          const there = [...(await transport.list(one, options)).keys()].filter((name) => name.endsWith('.apk'));
          await transport.remove(
            there.filter((name) => !wanted.has(name)).map((name) => `${one}/${name}`),
            options,
          );
        }
        await transport.put(root, waves, options);
      },
    })),
  };
}

const wrong: Readonly<Record<string, Kind>> = {
  ...prefixed('directory', {
    ...wrongOnes(kinds['directory, any order']),
    'no sync of directories': { ...kinds['directory, any order'], wrap: broken['no sync of directories'] },
  }),
  ...prefixed('sftp', {
    ...wrongOnes(kinds['sftp, ordered journal']),
    'a file system that keeps no order of names': { ...kinds['sftp, ordered journal'], ordered: false },
  }),
};

function prefixed<T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [`${prefix}, ${name}`, value]));
}

for (const [name, kind] of Object.entries(wrong)) {
  test(`teeth: ${name} is found out`, async (t) => {
    const tally = new Tally();
    for (const one of fc.sample(story, { numRuns: 12, seed: 4 })) {
      await play(one, kind, tally);
      if (tally.violations.length > 0) break;
    }
    t.diagnostic(`${tally.violations[0]} (${tally.states} states)`);
    assert.ok(tally.violations.length > 0, `${tally.states} states and not one violation`);
  });
}

const before: Repositories = { 'm/x86_64': { 'a@1-r0': 'a 1', 'b@1-r0': 'b 1' }, 'n/x86_64': { 'a@1-r0': 'a 1' } };
const after: Repositories = { 'm/x86_64': { 'a@2-r0': 'a 2', 'b@1-r0': 'b 1' }, 'o/x86_64': { 'c@1-r0': 'c 1' } };

for (const [name, kind] of Object.entries(kinds)) {
  test(`${name}: a push that is killed at any change is followed by a power cut at any moment of the next one`, async () => {
    const tally = new Tally();
    for (let changes = 0; ; changes++) {
      const mirror = await SimMirror.create(random(changes + 1), kind);
      await using world = await MirrorWorld.create(mirror, kind.connect);
      await world.publish(before);
      assert.equal(await world.push(), 'ok');
      await world.publish(after);
      await world.leave('n/x86_64');
      const outcome = await world.push({ changes, fate: 'kill' });
      const judge = (where: string, image = mirror.image): void => {
        tally.states++;
        const found = world.violation(image);
        if (found !== null) tally.violations.push(`killed at ${changes}, ${where}: ${found}`);
      };
      mirror.onChange = () => {
        for (let n = 0; n < 5; n++) judge('crash', mirror.crash());
      };
      await inStep(world, tally, judge);
      if (outcome === 'ok') break;
    }
    assert.deepEqual(tally.violations.slice(0, 3), []);
  });
}
