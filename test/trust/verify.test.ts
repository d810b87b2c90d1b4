import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { createSigningKey, makeIndex, makePackage } from '../../src/apk/make.ts';
import { OperationError } from '../../src/errors.ts';
import { keyFingerprint } from '../../src/trust/public-key.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { keyringOf, temporaryDirectory, verifyIndexAt, verifyPackageAt, word } from '../support/apk.ts';

const key = createSigningKey('test.rsa.pub');
const stranger = createSigningKey('stranger.rsa.pub');
const keyring = keyringOf(key);
const spec = { name: 'foo', version: '1.0-r0', arch: 'x86_64', contentBytes: 3000, seed: 1 };
const big = makePackage({ ...spec, name: 'big', contentBytes: 48 * 1024 * 1024 }, key);

function tool(name: string, ...args: string[]): void {
  execFileSync(name, args, { stdio: 'ignore' });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}

test('an accepted package comes with its facts, and its copy is durable, readable and of the same time', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  for (const made of [makePackage(spec, key), big]) {
    const [path, destination] = [join(directory, made.file), join(directory, `copy-of-${made.file}`)];
    writeFileSync(path, made.bytes);
    utimesSync(path, 1_600_000_000.75, 1_600_000_000.75);
    const verdict = await verifyPackageAt(verifier, path, { keyring, entry: made.entry, destination });
    assert.deepEqual(verdict, {
      verdict: 'accepted',
      package: {
        name: made.entry.name,
        version: '1.0-r0',
        identity: made.entry.identity,
        arch: 'x86_64',
        size: made.bytes.length,
        sha256: createHash('sha256').update(made.bytes).digest('hex'),
        mtimeSeconds: 1_600_000_000,
        signedBy: 'test.rsa.pub',
      },
    });
    assert.ok(readFileSync(destination).equals(made.bytes));
    const { mode, mtimeMs } = statSync(destination);
    assert.deepEqual([mode & 0o7777, mtimeMs], [0o644, 1_600_000_000_000]);
  }
});

test('an accepted index comes with its facts and its entries', async (t) => {
  const directory = temporaryDirectory(t);
  const entries = [1, 2, 3].map(
    (i) => makePackage({ ...spec, name: `p${i}`, seed: i, buildTime: 1000 + i }, null).entry,
  );
  await using verifier = new Verifier({ workers: 1 });
  for (const algorithm of ['RSA', 'RSA256', 'RSA512'] as const) {
    const bytes = makeIndex(entries, key, { description: 'v1 of tests', algorithm });
    const path = join(directory, algorithm);
    writeFileSync(path, bytes);
    const destination = join(directory, `${algorithm}.copy`);
    const result = await verifyIndexAt(verifier, path, { keyring, arch: 'x86_64', destination });
    assert.deepEqual(result.entries, entries);
    assert.deepEqual(result.verdict, {
      verdict: 'accepted',
      index: {
        sha256: createHash('sha256').update(bytes).digest('hex'),
        size: bytes.length,
        signedBy: 'test.rsa.pub',
        signedKey: keyFingerprint(key.publicPem),
        description: 'v1 of tests',
        packages: 3,
        newestBuildTime: 1003,
        mtimeSeconds: Math.floor(statSync(path).mtimeMs / 1000),
      },
    });
    assert.ok(readFileSync(destination).equals(bytes));
  }
});

test('the policy for signatures in packages that an index authenticates', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const impostor = { ...stranger, name: key.name };
  const expected = {
    trusted: [makePackage(spec, key), 'accept', 'accept', 'accept'],
    unknown: [makePackage(spec, stranger), 'SIG_UNTRUSTED', 'accept', 'accept'],
    none: [makePackage(spec, null), 'SIG_UNTRUSTED', 'accept', 'accept'],
    wrong: [makePackage(spec, impostor), 'SIG_BAD', 'SIG_BAD', 'accept'],
  } as const;
  for (const [name, [made, ...words]] of Object.entries(expected)) {
    const path = join(directory, name);
    writeFileSync(path, made.bytes);
    const found: string[] = [];
    for (const packageSignatures of ['require', 'if-present', 'ignore'] as const) {
      found.push(word(await verifyPackageAt(verifier, path, { keyring, entry: made.entry, packageSignatures })));
    }
    assert.deepEqual(found, words, name);
  }
});

test('a rejected file is copied whole for the quarantine, closed to readers', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const destination = join(directory, 'copy');
  writeFileSync(join(directory, 'source'), big.bytes);
  const verdict = await verifyPackageAt(verifier, join(directory, 'source'), {
    keyring: keyringOf(stranger),
    destination,
  });
  assert.equal(word(verdict), 'SIG_UNTRUSTED');
  assert.ok(readFileSync(destination).equals(big.bytes));
  assert.equal(statSync(destination).mode & 0o7777, 0o600);
});

test('a file of the wrong size is refused before a byte is read or written; explained, it is read', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const made = makePackage(spec, key);
  const [path, destination] = [join(directory, 'source'), join(directory, 'copy')];
  writeFileSync(path, made.bytes.subarray(0, -1));
  const settings = { keyring, entry: made.entry, destination };
  assert.equal(word(await verifyPackageAt(verifier, path, settings)), 'SIZE_MISMATCH');
  assert.equal(word(await verifyPackageAt(verifier, path, { ...settings, explainSize: true })), 'TRUNCATED');
  writeFileSync(path, made.bytes);
  const other = { ...made.entry, size: made.entry.size + 1 };
  assert.equal(
    word(await verifyPackageAt(verifier, path, { ...settings, entry: other, explainSize: true })),
    'SIZE_MISMATCH',
  );
  assert.ok(!existsSync(destination));
});

test('what is there already is neither overwritten nor removed', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const [path, destination] = [join(directory, 'source'), join(directory, 'copy')];
  writeFileSync(path, makePackage(spec, key).bytes);
  writeFileSync(destination, 'mine');
  await assert.rejects(verifyPackageAt(verifier, path, { keyring, destination }), { code: 'EEXIST' });
  assert.equal(readFileSync(destination, 'utf8'), 'mine');
});

test('pipes, devices and directories are refused without waiting for them', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  tool('mkfifo', join(directory, 'fifo'));
  for (const path of [join(directory, 'fifo'), '/dev/zero', directory]) {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const options = { sourceFd: file.fd, keyring, destination: join(directory, 'copy') };
    const onEntries = (): void => {};
    assert.equal(word(await verifier.verifyIndex({ ...options, arch: null, onEntries })), 'NOT_REGULAR', path);
    const rules = { entry: null, packageSignatures: 'require', inflate: false } as const;
    assert.equal(word(await verifier.verifyPackage({ ...options, ...rules })), 'NOT_REGULAR', path);
  }
  assert.ok(!existsSync(join(directory, 'copy')));
});

const changes: Record<string, (path: string) => void> = {
  'a byte more': (path) => appendFileSync(path, 'x'),
  'a byte less': (path) => truncateSync(path, big.bytes.length - 1),
  'another time': (path) => utimesSync(path, 1, 1),
};
for (const [name, change] of Object.entries(changes)) {
  test(`a package that changes while it is read is refused: ${name}`, async (t) => {
    const directory = temporaryDirectory(t);
    await using verifier = new Verifier({ workers: 1 });
    const [path, destination] = [join(directory, 'source'), join(directory, 'copy')];
    writeFileSync(path, big.bytes);
    const verifying = verifyPackageAt(verifier, path, { keyring, entry: big.entry, destination });
    // The copy is made after the first look at the file and takes much longer than the change.
    await until(() => existsSync(destination));
    change(path);
    assert.equal(word(await verifying), 'CHANGED_WHILE_READING');
  });
}

test('an index that changes while it is read is refused', async (t) => {
  const path = join(temporaryDirectory(t), 'index');
  writeFileSync(path, makeIndex([makePackage(spec, null).entry], key));
  await using verifier = new Verifier({ workers: 1 });
  await using file = await open(path);
  const onEntries = (): void => utimesSync(path, 1, 1);
  const verdict = await verifier.verifyIndex({ sourceFd: file.fd, arch: null, keyring, onEntries });
  assert.equal(word(verdict), 'CHANGED_WHILE_READING');
});

test('a hard link that is made while an index is read counts as a change only where nobody but its writer may touch it', async (t) => {
  const path = join(temporaryDirectory(t), 'index');
  writeFileSync(path, makeIndex([makePackage(spec, null).entry], key));
  await using verifier = new Verifier({ workers: 1 });
  for (const [ignoreLinks, expected] of [
    [false, 'CHANGED_WHILE_READING'],
    [true, 'accept'],
  ] as const) {
    await using file = await open(path);
    const before = statSync(path, { bigint: true }).ctimeNs;
    const onEntries = (): void => {
      // The clock of the file system goes in steps: until it has moved nothing is to be seen.
      while (statSync(path, { bigint: true }).ctimeNs === before) {
        linkSync(path, `${path}.link`);
        unlinkSync(`${path}.link`);
      }
    };
    const verdict = await verifier.verifyIndex({ sourceFd: file.fd, arch: null, keyring, ignoreLinks, onEntries });
    assert.equal(word(verdict), expected);
  }
});

test('a full disk is an error that says so, leaves no copy, and the next job goes well', async (t) => {
  const directory = temporaryDirectory(t);
  const small = join(directory, 'small');
  mkdirSync(small);
  try {
    tool('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small);
  } catch {
    return t.skip('no right to mount a small tmpfs');
  }
  await using verifier = new Verifier({ workers: 1 });
  const path = join(directory, 'source');
  writeFileSync(path, big.bytes);
  try {
    await assert.rejects(
      verifyPackageAt(verifier, path, { keyring, destination: join(small, 'copy') }),
      (error) =>
        error instanceof OperationError &&
        error.code === 'DISK_FULL' &&
        /small\/copy: .*free space/.test(error.message),
    );
    assert.deepEqual(readdirSync(small), []);
  } finally {
    tool('umount', '-l', small);
  }
  assert.equal(
    word(await verifyPackageAt(verifier, path, { keyring, destination: join(directory, 'copy') })),
    'accept',
  );
});

test('an abort ends the running job, takes a waiting one out of the queue, and leaves no copy', async (t) => {
  const directory = temporaryDirectory(t);
  await using verifier = new Verifier({ workers: 1 });
  const [path, first, second] = [join(directory, 'source'), join(directory, 'first'), join(directory, 'second')];
  writeFileSync(path, big.bytes);
  const abort = new AbortController();
  const settings = { keyring, entry: big.entry, signal: abort.signal };
  const running = verifyPackageAt(verifier, path, { ...settings, destination: first });
  const waiting = verifyPackageAt(verifier, path, { ...settings, destination: second });
  await until(() => existsSync(first));
  const reason = new Error('enough');
  abort.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(running, reason);
  assert.deepEqual(readdirSync(directory), ['source']);
  await assert.rejects(verifyPackageAt(verifier, path, settings), reason);
  assert.equal(word(await verifyPackageAt(verifier, path, { keyring, entry: big.entry })), 'accept');
});

test('a thread that crashes fails its job, leaves no copy, and is replaced', async (t) => {
  const directory = temporaryDirectory(t);
  const [path, destination] = [join(directory, 'source'), join(directory, 'copy')];
  writeFileSync(path, big.bytes);
  const started: Worker[] = [];
  const note = (worker: Worker): void => void started.push(worker);
  process.on('worker', note);
  t.after(() => process.off('worker', note));
  await using verifier = new Verifier({ workers: 1 });
  const job = verifyPackageAt(verifier, path, { keyring, destination });
  await until(() => existsSync(destination));
  await started[0]?.terminate();
  await assert.rejects(job, /the verifying thread ended.*try again/);
  assert.deepEqual(readdirSync(directory), ['source']);
  assert.equal(word(await verifyPackageAt(verifier, path, { keyring })), 'accept');
  assert.equal(started.length, 2);
});

test('what the receiver of entries throws comes out, and the copy goes', async (t) => {
  const directory = temporaryDirectory(t);
  const [path, destination] = [join(directory, 'source'), join(directory, 'copy')];
  writeFileSync(path, makeIndex([makePackage(spec, null).entry], key));
  await using verifier = new Verifier({ workers: 1 });
  await using file = await open(path);
  const onEntries = (): void => {
    throw new Error('no room');
  };
  await assert.rejects(
    verifier.verifyIndex({ sourceFd: file.fd, destination, arch: null, keyring, onEntries }),
    /no room/,
  );
  assert.ok(!existsSync(destination));
});

test('disposing ends what runs and what waits', async (t) => {
  const path = join(temporaryDirectory(t), 'source');
  writeFileSync(path, big.bytes);
  const verifier = new Verifier({ workers: 1 });
  const jobs = [1, 2].map(() => verifyPackageAt(verifier, path, { keyring }));
  const settled = Promise.allSettled(jobs);
  // Both have opened their file and are with the verifier.
  await setImmediate();
  await verifier[Symbol.asyncDispose]();
  for (const result of await settled) assert.equal(result.status, 'rejected');
  await assert.rejects(verifyPackageAt(verifier, path, { keyring }), /the verifier was ended/);
});

test('an index of 100,000 packages passes in slices', async (t) => {
  const path = join(temporaryDirectory(t), 'index');
  const entries = Array.from({ length: 100_000 }, (_, i) => ({
    name: `package-${i}`,
    version: '1.0-r0',
    arch: 'x86_64',
    identity: createHash('sha1').update(String(i)).digest('hex'),
    size: i,
    buildTime: i,
  }));
  writeFileSync(path, makeIndex(entries, key));
  await using verifier = new Verifier({ workers: 1 });
  await using file = await open(path);
  let [seen, largest, next] = [0, 0, 0];
  const verdict = await verifier.verifyIndex({
    sourceFd: file.fd,
    arch: 'x86_64',
    keyring,
    onEntries: (slice) => {
      largest = Math.max(largest, slice.length);
      for (const entry of slice) if (entry.name === `package-${next}`) next += 1;
      seen += slice.length;
    },
  });
  assert.equal(word(verdict), 'accept');
  assert.deepEqual([seen, next], [100_000, 100_000]);
  assert.ok(largest <= 1000, `a slice of ${largest}`);
});
