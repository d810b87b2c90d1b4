import assert from 'node:assert/strict';
import { mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { MirrorScrub } from '../../src/observe/scrub.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { flipBit, scrub } from '../support/rot.ts';
import { serveFiles } from '../support/file-server.ts';
import { findProgram, missingProgram, startSshd } from '../support/sshd.ts';

const directory = 'main/x86_64';
const pkg = (n: number): string => `${directory}/pkg-${n}-1.0-r0.apk`;
const orphan = `${directory}/.pkg-3-1.0-r0.apk.aB3dE6`;

interface World extends AsyncDisposable {
  readonly primary: Primary;
  readonly at: (mirror: string) => string;
}

/** A primary in step with one mirror for each account: `type command`, an empty command is a plain account. */
async function start(
  t: TestContext,
  accounts: Readonly<Record<string, string>>,
  { urls = [], more = '' }: { readonly urls?: readonly string[]; readonly more?: string } = {},
): Promise<World> {
  const primary = await Primary.create();
  t.after(() => primary[Symbol.asyncDispose]());
  const at = (name: string): string => join(primary.directory, 'mirrors', name);
  const commands = Object.entries(accounts).map(([name, account]) => {
    const command = account.replace(/^\S+ ?/, '').replace('ROOT', at(name));
    return [name, command === '' ? null : command] as const;
  });
  const sshd = await startSshd(Object.fromEntries(commands));
  t.after(() => sshd[Symbol.asyncDispose]());
  const lines: string[] = [];
  for (const [name, account] of Object.entries(accounts)) {
    await mkdir(at(name));
    const [type] = account.split(' ');
    const path = /rrsync/.test(account) ? '/' : at(name);
    let url = '';
    if (urls.includes(name)) {
      const web = await serveFiles(at(name));
      t.after(() => web[Symbol.asyncDispose]());
      url = `url: "${web.url}", `;
    }
    lines.push(
      `  - { name: ${name}, ${url}transport: { type: ${type}, path: ${path}, host: 127.0.0.1, port: ${sshd.port}, user: ${sshd.user}, identity: ${sshd.identity(name)}, host_key: "${sshd.hostKeyFingerprint}" } }`,
    );
  }
  await primary.configure({ mirrors: lines.join('\n'), more: more === '' ? 'scrub: { mirror_sample: all }' : more });
  await primary.start();
  const repository = primary.repository(directory);
  for (let i = 0; i < 6; i++)
    repository.set({ name: `pkg-${i}`, version: '1.0-r0', contentBytes: i === 5 ? 4_500_000 : 20_000, seed: i });
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);
  for (const name of Object.keys(accounts)) await primary.untilInSync(name, 1);
  return { primary, at, [Symbol.asyncDispose]: () => primary[Symbol.asyncDispose]() };
}

function found(mirrors: readonly MirrorScrub[], name: string): Partial<MirrorScrub> {
  const { outcome, sampled, missing, different, corrupt, repaired, temporary } =
    mirrors.find((m) => m.name === name) ?? assert.fail(`no mirror ${name}`);
  return { outcome, sampled, missing, different, corrupt, repaired, temporary };
}

/** Rot in two files, one of them longer than what is read at once; one file lost, one cut; and what a killed rsync leaves. */
async function spoil(root: string): Promise<void> {
  for (const n of [2, 5]) await flipBit(join(root, pkg(n)));
  await rm(join(root, pkg(0)));
  await writeFile(join(root, pkg(1)), 'short');
  await writeFile(join(root, orphan), 'left');
  await utimes(join(root, orphan), 1, 1);
}

function missingRrsync(): string | undefined {
  return missingProgram('sshd', 'ssh-keygen', 'rsync', 'rrsync');
}

test('rot that leaves size and time alone is found and mended over sftp and over every kind of rsync account, without a URL', {
  timeout: 600_000,
}, async (t) => {
  const missing = missingRrsync();
  if (missing) return t.skip(`${missing} is not installed`);
  const rrsync = findProgram('rrsync');
  const accounts = {
    sftp: 'sftp internal-sftp',
    plain: 'rsync',
    rrsync: `rsync ${rrsync} ROOT`,
    nodel: `rsync ${rrsync} -no-del ROOT`,
    writeonly: `rsync ${rrsync} -wo ROOT`,
  };
  const { primary, at } = await start(t, accounts);
  const whole = await snapshot(primary.public);
  for (const name of Object.keys(accounts)) await spoil(at(name));
  const report = await scrub(primary);
  const mended = { outcome: 'done', sampled: 6, missing: 1, different: 1, corrupt: 2, repaired: 4 } as const;
  for (const name of ['sftp', 'plain', 'rrsync'])
    assert.deepEqual(found(report.mirrors, name), { ...mended, temporary: 1 }, `${name}: ${primary.log.slice(-3000)}`);
  for (const name of ['sftp', 'plain', 'rrsync']) assert.deepEqual(await snapshot(at(name)), whole, name);
  // Behind -wo nothing can be listed: what is ours is compared all the same.
  assert.deepEqual(found(report.mirrors, 'writeonly'), { ...mended, temporary: 0 });
  assert.match(
    report.mirrors.find((m) => m.name === 'writeonly')?.detail ?? '',
    /foreign and left-over ones are not seen/,
  );
  assert.deepEqual(found(report.mirrors, 'nodel'), { ...mended, temporary: 0 });
  assert.match(report.mirrors.find((m) => m.name === 'nodel')?.detail ?? '', /may not delete: left-over files stay/);
  for (const name of ['writeonly', 'nodel']) {
    const now = await snapshot(at(name));
    assert.ok(now.delete(orphan), `${name} may not delete: its owner must`);
    assert.deepEqual(now, whole, name);
  }
  const again = await scrub(primary);
  for (const { name, missing: lost, different, corrupt, outcome } of again.mirrors)
    assert.deepEqual([outcome, lost, different, corrupt], ['done', 0, 0, 0], name);
  assert.ok((await primary.status()).mirrors.every((m) => m.state === 'in-sync'));
});

test('rot on the primary is mended over the account of a mirror without a URL, and never with its bad bytes', {
  timeout: 600_000,
}, async (t) => {
  const missing = missingRrsync();
  if (missing) return t.skip(`${missing} is not installed`);
  const rrsync = findProgram('rrsync');
  for (const [good, account] of Object.entries({ sftp: 'sftp internal-sftp', rsync: `rsync ${rrsync} ROOT` })) {
    const { primary, at } = await start(t, {
      writeonly: `rsync ${rrsync} -wo ROOT`,
      rotten: 'sftp internal-sftp',
      good: account,
    });
    const whole = await snapshot(primary.public);
    const index = `${directory}/APKINDEX.tar.gz`;
    for (const path of [pkg(2), pkg(5), index]) {
      for (const root of [primary.public, primary.inbox]) await flipBit(join(root, path));
      await flipBit(join(at('rotten'), path));
    }
    await flipBit(join(primary.public, pkg(3)));
    for (const root of [primary.inbox, at('rotten')]) await rm(join(root, pkg(3)));
    const report = await scrub(primary);
    assert.deepEqual(
      [report.corrupt, report.repaired, report.damaged],
      [4, 4, []],
      `${good}: ${primary.log.slice(-3000)}`,
    );
    assert.deepEqual(await snapshot(primary.public), whole);
    assert.equal(primary.log.match(/"event":"scrub_repaired".*"from":"mirror good"/g)?.length, 4);
    assert.deepEqual(await readdir(join(primary.root, 'ingest/.scrub')), []);
    assert.ok((await primary.status()).mirrors.every((m) => m.state === 'in-sync'));
    await primary.stop();
  }
});

test('a rotten file is replaced and never away: whoever fetches it meanwhile gets bytes', async (t) => {
  const missing = missingRrsync();
  if (missing) return t.skip(`${missing} is not installed`);
  const { primary, at } = await start(t, { far: `rsync ${findProgram('rrsync')} ROOT`, near: 'sftp internal-sftp' });
  const paths = ['far', 'near'].map((name) => join(at(name), pkg(5)));
  for (const path of paths) await flipBit(path);
  let absent = 0;
  const ended = new AbortController();
  const watching = (async () => {
    while (!ended.signal.aborted) {
      for (const path of paths) await stat(path).catch(() => absent++);
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  })();
  const report = await scrub(primary);
  ended.abort();
  await watching;
  assert.deepEqual(
    report.mirrors.map(({ corrupt, repaired }) => [corrupt, repaired]),
    [
      [1, 1],
      [1, 1],
    ],
  );
  assert.equal(absent, 0);
});

test('an account that may not read is looked into over HTTP; without a URL the report says that nothing was read', async (t) => {
  const missing = missingProgram('sshd', 'ssh-keygen');
  if (missing) return t.skip(`${missing} is not installed`);
  const blind = 'sftp internal-sftp -P read';
  const { primary, at } = await start(t, { web: blind, dark: blind }, { urls: ['web'] });
  for (const name of ['web', 'dark']) await flipBit(join(at(name), pkg(2)));
  const { mirrors } = await scrub(primary);
  const none = { outcome: 'done', missing: 0, different: 0, temporary: 0 } as const;
  assert.deepEqual(found(mirrors, 'web'), { ...none, sampled: 6, corrupt: 1, repaired: 1 });
  assert.deepEqual(found(mirrors, 'dark'), { ...none, sampled: 0, corrupt: 0, repaired: 0 });
  assert.match(mirrors.find((m) => m.name === 'dark')?.detail ?? '', /its bytes cannot be read: /);
});

test('rot on the primary that nobody has found yet is never brought to a mirror by a comparison of both', async (t) => {
  const missing = missingRrsync();
  if (missing) return t.skip(`${missing} is not installed`);
  const { primary, at } = await start(
    t,
    { far: `rsync ${findProgram('rrsync')} ROOT` },
    { more: 'scrub: { mirror_sample: all, rate: 2MiB }' },
  );
  const whole = await snapshot(at('far'));
  assert.equal((await primary.control('scrub', {})).status, 202);
  // The large file comes last, and the mirrors after it: what rots now was read already.
  await primary.until('the small files to be read', async () => (await primary.status()).scrub.files >= 5);
  await flipBit(join(primary.public, pkg(1)));
  await primary.until('the scrub to end', async () => (await primary.status()).scrub.finished_at !== null, 120_000);
  const { scrub: report } = await primary.status();
  assert.deepEqual(found(report.mirrors, 'far').corrupt, 0);
  assert.deepEqual(await snapshot(at('far')), whole);
  assert.deepEqual(
    (await readdir(join(at('far'), directory))).filter((name) => name.startsWith('.')),
    [],
  );
});
