import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import * as fc from 'fast-check';
import { Verifier } from '../../src/trust/verify.ts';
import { temporaryDirectory } from '../support/apk.ts';
import { generatedV3 } from './corpus-v3.ts';
import { corpus, generatedV2, type Specimen } from './corpus.ts';
import { formatV2, signatureLength } from './format-v2.ts';
import { Judge } from './judge.ts';
import { plan, spoil } from './mutate.ts';

const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 0x7fff_ffff));

test('spoilt files never crash the verifier, and are never accepted with other bytes than were signed', async (t) => {
  t.diagnostic(`FUZZ_SEED=${seed}`);
  await using verifier = new Verifier({ workers: 1 });
  const specimens = await corpus(verifier);
  await using judge = await Judge.open(verifier, specimens, join(temporaryDirectory(t), 'input'));
  const words = new Set<string>();
  await fc.assert(
    fc.asyncProperty(plan, async (drawn) => {
      const { specimen, bytes, signed } = spoil(specimens, drawn);
      words.add((await judge.judge(specimen, bytes, signed)).word);
    }),
    { seed, numRuns: 2500 },
  );
  assert.ok(words.has('accepted') && words.size > 10, `the damage is of many kinds: ${[...words].join(', ')}`);
});

test('the judge sees a false accept', async (t) => {
  await using verifier = new Verifier({ workers: 1 });
  const [specimen] = generatedV2() as [Specimen];
  const changed = Buffer.from(specimen.bytes);
  changed[changed.length - 30] = (changed[changed.length - 30] ?? 0) ^ 1;
  // A verifier that accepts everything, as far as the judge can tell: the original is the changed one.
  const lying: Specimen = {
    ...specimen,
    format: { ...formatV2, isAuthentic: () => formatV2.isAuthentic(changed, specimen.bytes) },
  };
  await using judge = await Judge.open(verifier, [lying], join(temporaryDirectory(t), 'input'));
  await assert.rejects(judge.judge(lying, specimen.bytes, false), /authenticated bytes are not the original's/);
});

test('authentic is what has the signed bytes at its end and nothing but signatures before them', () => {
  for (const { bytes, name } of generatedV2()) {
    const start = signatureLength(bytes);
    assert.ok(formatV2.isAuthentic(bytes, bytes), name);
    assert.ok(formatV2.isAuthentic(bytes.subarray(start), bytes), 'without its signature');
    assert.ok(!formatV2.isAuthentic(bytes.subarray(0, -1), bytes), 'cut');
    assert.ok(!formatV2.isAuthentic(Buffer.concat([bytes, Buffer.from([0])]), bytes), 'longer');
    assert.ok(!formatV2.isAuthentic(Buffer.concat([bytes.subarray(start), bytes.subarray(start)]), bytes), 'twice');
    assert.ok(!formatV2.isAuthentic(formatV2.pack(formatV2.unpack(bytes)), bytes), 'packed anew');
  }
});

test('authentic v3 is what has the same ADB and DATA blocks, and alone a signature it came with', () => {
  for (const { bytes, name, format, entry } of generatedV3()) {
    const [head = bytes, adb = bytes, ...rest] = format.unpack(bytes);
    const unsigned = format.pack([head, adb, ...rest.slice(1)]);
    assert.ok(format.isAuthentic(bytes, bytes), name);
    assert.ok(format.isAuthentic(format.pack([head, adb, ...rest]), bytes), `${name} packed anew`);
    assert.equal(format.isAuthentic(unsigned, bytes), entry !== null, `${name} without its signature`);
    assert.ok(!format.isAuthentic(format.pack([head, adb]), bytes), `${name} without its data`);
    assert.ok(!format.isAuthentic(bytes.subarray(0, -1), bytes), `${name} cut`);
    assert.ok(!format.isAuthentic(format.pack([head, adb, adb, ...rest]), bytes), `${name}, its first block twice`);
  }
});

test('what the trusted key signs anew is accepted as long as nothing is spoilt', async (t) => {
  await using verifier = new Verifier({ workers: 1 });
  const specimens = [...generatedV2(), ...generatedV3()].filter((s) => s.resign !== null);
  await using judge = await Judge.open(verifier, specimens, join(temporaryDirectory(t), 'input'));
  for (const specimen of specimens.filter((s) => s.kind === 'index' || s.format !== formatV2)) {
    const bytes = specimen.resign?.(specimen.format.unpack(specimen.bytes)) ?? Buffer.alloc(0);
    assert.equal((await judge.judge(specimen, bytes, true)).word, 'accepted', specimen.name);
  }
});
