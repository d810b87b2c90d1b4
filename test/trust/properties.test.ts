import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { createSigningKey, makeIndex, makePackage } from '../../src/apk/make.ts';
import { readHead } from '../../src/apk/head.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyringOf, temporaryDirectory, verifyIndexAt, verifyPackageBytes } from '../support/apk.ts';

const key = createSigningKey('test.rsa.pub');
const keyring = keyringOf(key);
const made = makePackage({ name: 'foo', version: '1.0-r0', arch: 'x86_64', contentBytes: 700, seed: 5 }, key);
const signatureEnd = readHead(made.bytes)?.start ?? 0;

/** Without the byte at hand the verdict must not be chance: both with and without a look into the data. */
const flip = fc.record({
  at: fc.integer({ min: 0, max: made.bytes.length - 1 }),
  bit: fc.integer({ min: 0, max: 7 }),
  inflate: fc.boolean(),
});

function flipped(bytes: Buffer, at: number, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ (1 << bit);
  return copy;
}

test('a package with one wrong bit is accepted only if the bit is in the signature member, which nothing authenticates', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 2 });
  assert.ok(signatureEnd > 0);
  await fc.assert(
    fc.asyncProperty(flip, async ({ at, bit, inflate }) => {
      const settings = { keyring, entry: made.entry, packageSignatures: 'if-present' as const, inflate };
      const { verdict } = await verifyPackageBytes(verifier, directory, flipped(made.bytes, at, bit), settings);
      assert.ok(verdict === 'rejected' || at < signatureEnd, `bit ${bit} of byte ${at} changed and ${verdict}`);
    }),
    { numRuns: 600 },
  );
});

test('with its signature required, a package that stands alone does not survive a wrong bit of its signature either', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 2 });
  // The signature itself: after gzip header, block header and tar record.
  const start = 10 + 5 + 512;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: start, max: start + 255 }), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
      const bytes = flipped(made.bytes, at, bit);
      const { verdict } = await verifyPackageBytes(verifier, directory, bytes, { keyring });
      assert.equal(verdict, 'rejected');
    }),
    { numRuns: 50 },
  );
});

test('a package that is cut anywhere is rejected', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 2 });
  const settings = { keyring, packageSignatures: 'ignore' as const };
  assert.equal((await verifyPackageBytes(verifier, directory, made.bytes, settings)).verdict, 'accepted');
  for (let length = 0; length < made.bytes.length; length += 8) {
    const verdicts = await Promise.all(
      Array.from({ length: Math.min(8, made.bytes.length - length) }, (_, i) =>
        verifyPackageBytes(verifier, directory, made.bytes.subarray(0, length + i), {
          ...settings,
          inflate: i % 2 === 0,
        }),
      ),
    );
    for (const [i, { verdict }] of verdicts.entries()) assert.equal(verdict, 'rejected', `cut at ${length + i}`);
  }
});

test('an index with one wrong bit or a cut is accepted only if the bit is outside of what is signed', async (t) => {
  const path = join(temporaryDirectory(t), 'index');
  const bytes = makeIndex([made.entry], key, { description: 'test' });
  const start = readHead(bytes)?.start ?? 0;
  await using verifier = new Verifier({ workers: 1 });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: start, max: bytes.length - 1 }),
      fc.integer({ min: -1, max: 7 }),
      async (at, bit) => {
        writeFileSync(path, bit < 0 ? bytes.subarray(0, at) : flipped(bytes, at, bit));
        const { verdict } = await verifyIndexAt(verifier, path, { keyring, arch: 'x86_64' });
        assert.equal(verdict.verdict, 'rejected', `byte ${at}, bit ${bit}`);
      },
    ),
    { numRuns: 400 },
  );
});
