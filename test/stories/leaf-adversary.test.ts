/** A host in the middle of a chain that belongs to somebody else now: whatever it puts into the inbox of the next, nothing of it is served. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { createLeaf, feeding, makeIn } from '../support/leaf.ts';
import { Primary, snapshot } from '../support/primary.ts';

const run = promisify(execFile);
const index = 'main/x86_64/APKINDEX.tar.gz';
const next = 'main/x86_64/hello-3-r0.apk';

/** What the attacker has: the inbox of the leaf, an older generation as it was, and the next one, honestly signed. */
interface Loot {
  readonly inbox: string;
  readonly older: string;
  readonly newer: string;
}

async function take(from: string, inbox: string, ...paths: string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(inbox, path)), { recursive: true });
    await copyFile(join(from, path), join(inbox, path));
  }
}

/** Replaces `inbox/path` by something that is no regular file. */
async function instead(inbox: string, path: string, make: (path: string) => Promise<unknown>): Promise<void> {
  await rm(join(inbox, path), { force: true });
  await make(join(inbox, path));
}

/** Nothing that is wrong may be right for a moment: that would be served, and rightly. */
const attacks: readonly (readonly [string, string | null, (loot: Loot) => Promise<unknown>])[] = [
  [
    'a published package is replaced',
    null,
    ({ inbox }) => writeFile(join(inbox, 'main/x86_64/hello-2-r0.apk'), 'evil'),
  ],
  [
    'a package of the next generation has other bytes of the same size',
    'DATA_MISMATCH',
    async ({ inbox, newer }) => {
      const bytes = await readFile(join(newer, next));
      const at = bytes.length - 200;
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      await writeFile(join(inbox, next), bytes);
      await take(newer, inbox, index);
    },
  ],
  ['the index is signed by another key of the same name', 'SIG_BAD', ({ inbox }) => forge(inbox, 'test-1.rsa.pub')],
  ['the index is signed by a key of another name', 'SIG_UNTRUSTED', ({ inbox }) => forge(inbox, 'evil.rsa.pub')],
  [
    'an older signed index comes again, with its packages',
    'REPLAY',
    ({ older, inbox }) => take(older, inbox, 'main/x86_64/hello-1-r0.apk', index, 'lockstep.json'),
  ],
  [
    'the next index comes with the packages of the present one',
    'INCOMPLETE',
    ({ newer, inbox }) => take(newer, inbox, index),
  ],
  [
    'the next index comes with an older package under the new name',
    'CONTROL_MISMATCH',
    async ({ newer, older, inbox }) => {
      await take(newer, inbox, index);
      await copyFile(join(older, 'main/x86_64/hello-1-r0.apk'), join(inbox, next));
    },
  ],
  [
    'the index is truncated',
    'TRUNCATED',
    async ({ newer, inbox }) => {
      await take(newer, inbox, next);
      await writeFile(join(inbox, index), (await readFile(join(newer, index))).subarray(0, 300));
    },
  ],
  [
    'a package is truncated',
    'INCOMPLETE',
    async ({ newer, inbox }) => {
      await writeFile(join(inbox, next), (await readFile(join(newer, next))).subarray(0, 200));
      await take(newer, inbox, index);
    },
  ],
  [
    'something follows the index',
    'FORMAT_TRAILING',
    async ({ newer, inbox }) => {
      await take(newer, inbox, next);
      await writeFile(join(inbox, index), Buffer.concat([await readFile(join(newer, index)), Buffer.from('evil')]));
    },
  ],
  [
    'the index of one architecture lies at another',
    'INDEX_ARCH',
    ({ inbox }) => copyFile(join(inbox, 'main/aarch64/APKINDEX.tar.gz'), join(inbox, index)),
  ],
  [
    'a package is a symlink out of the inbox',
    'NOT_REGULAR',
    async ({ newer, inbox }) => {
      await take(newer, inbox, index);
      await instead(inbox, next, (path) => symlink('/etc/passwd', path));
    },
  ],
  [
    'a package is a FIFO',
    'NOT_REGULAR',
    async ({ newer, inbox }) => {
      await take(newer, inbox, index);
      await instead(inbox, next, (path) => run('mkfifo', [path]));
    },
  ],
  ['the index is a FIFO', 'NOT_REGULAR', ({ inbox }) => instead(inbox, index, (path) => run('mkfifo', [path]))],
  [
    'the index is a symlink out of the inbox',
    'NOT_REGULAR',
    ({ inbox }) => instead(inbox, index, (path) => symlink('/etc/passwd', path)),
  ],
  ['a directory has a name for terminals', 'NAME', ({ inbox }) => mkdir(join(inbox, 'main', 'x\u001b[2J\n'))],
  [
    'a repository lies where none may',
    'OUT_OF_SCOPE',
    ({ newer, inbox }) => cp(join(newer, 'main'), join(inbox, 'evil'), { recursive: true }),
  ],
  ['lockstep.json is a FIFO', null, ({ inbox }) => instead(inbox, 'lockstep.json', (path) => run('mkfifo', [path]))],
  [
    'lockstep.json is a symlink',
    null,
    ({ inbox }) => instead(inbox, 'lockstep.json', (path) => symlink('/dev/zero', path)),
  ],
  ['lockstep.json is a directory', null, ({ inbox }) => instead(inbox, 'lockstep.json', (path) => mkdir(path))],
  [
    'lockstep.json names what was never built, by an upstream whose name is for terminals',
    null,
    ({ inbox }) =>
      writeFile(
        join(inbox, 'lockstep.json'),
        JSON.stringify({
          version: 1,
          generation: Number.MAX_SAFE_INTEGER,
          primary: '\u001b[2Jevil',
          published_at: '9999-12-31T23:59:59Z',
          repositories: [{ path: 'main/x86_64', index: 'APKINDEX.tar.gz', index_sha256: 'f'.repeat(64), packages: 1 }],
        }),
      ),
  ],
];

async function forge(inbox: string, keyName: string): Promise<void> {
  const repository = new SampleRepository('main/x86_64', createSigningKey(keyName));
  repository.set({ name: 'hello', version: '9-r0', contentBytes: 900, seed: 66 });
  await repository.write(inbox);
}

async function served(leaf: Primary): Promise<Map<string, string>> {
  return new Map([...(await snapshot(leaf.public))].map(([path, { content }]) => [path, content]));
}

async function emptied(directory: string): Promise<void> {
  for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true, force: true });
}

test('a compromised host in the middle passes nothing on: the leaf says why, and goes on with what is honest', {
  timeout: 900_000,
}, async (t) => {
  const more = 'schedule: { rescan: 1s }';
  const primary = await Primary.create();
  t.after(() => primary[Symbol.asyncDispose]());
  const middle = await createLeaf(primary, { inbox: '    settle: 300ms', more });
  t.after(() => middle[Symbol.asyncDispose]());
  const leaf = await createLeaf(primary, { inbox: '    settle: 300ms', more });
  t.after(() => leaf[Symbol.asyncDispose]());
  await middle.configure({ inbox: '    fed_by: upstream\n    settle: 300ms', mirrors: feeding(leaf), more });
  await primary.configure({ mirrors: feeding(middle), more });
  for (const host of [leaf, middle, primary]) await host.start();

  const repositories = ['main/x86_64', 'main/aarch64'].map((path) => primary.repository(path));
  const build = async (version: string, directory: string): Promise<void> => {
    for (const [n, repository] of repositories.entries()) {
      repository.set({ name: 'hello', version, contentBytes: 900, seed: n });
      await repository.write(directory);
    }
  };
  const arrived = (version: string): Promise<void> =>
    leaf.until(`${version} at the leaf`, () =>
      repositories.every(({ path }) => existsSync(join(leaf.public, path, `hello-${version}.apk`))),
    );
  await build('1-r0', primary.inbox);
  await arrived('1-r0');
  const older = await makeIn(leaf.directory, 'older');
  await cp(leaf.inbox, older, { recursive: true });
  await build('2-r0', primary.inbox);
  await arrived('2-r0');
  await middle.until('the middle to be done', async () => (await middle.status()).mirrors[0]?.state === 'in-sync');
  await middle.stop();
  const newer = await makeIn(leaf.directory, 'newer');
  await build('3-r0', newer);
  const honest = await makeIn(leaf.directory, 'honest');
  await cp(leaf.inbox, honest, { recursive: true });
  const before = await served(leaf);
  for (const [what, code, attack] of attacks)
    await t.test(what, async () => {
      const told = leaf.log.length;
      await attack({ inbox: leaf.inbox, older, newer });
      const codes = (): string[] =>
        [...leaf.log.slice(told).matchAll(/"event":"batch_(?:held|rejected)".*?"code":"([A-Z_]+)"/g)].map(
          (m) => m[1] ?? '',
        );
      if (code === null) await sleep(1500);
      else await leaf.until(`the leaf to say ${code}`, () => codes().includes(code));
      assert.deepEqual(await served(leaf), before, 'nothing of it is served');
      await emptied(leaf.inbox);
      await cp(honest, leaf.inbox, { recursive: true });
    });
  await cp(newer, primary.inbox, { recursive: true });
  await middle.start();
  assert.equal((await middle.control('push', { mirror: 'leaf', force: true })).status, 202);
  await arrived('3-r0');
  const now = await served(leaf);
  assert.equal(now.get(index), (await readFile(join(newer, index))).toString('base64'));
});
