import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { createSigningKey, storedGzip, tarFile } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

/** What a log, a terminal, a page or a metric would obey. */
const evil =
  'new\nline\r\u001b[31mred\u001b]0;title\u0007\u009b2J\u202eltr\u2028<script>alert(1)</script>"\'`&amp;{x="y"}';
const obeyed = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

function assertSafe(text: string, what: string): void {
  const found = obeyed.exec(text.replaceAll('\n', ''));
  assert.equal(
    found,
    null,
    `${what} holds U+${found?.[0].codePointAt(0)?.toString(16)}: ${JSON.stringify(text.slice(Math.max(0, (found?.index ?? 0) - 80), (found?.index ?? 0) + 20))}`,
  );
}

/** An index that the trusted key has signed: of a builder gone bad. */
function signedIndex(primary: Primary, stanza: string): Buffer {
  const member = gzipSync(tarFile('APKINDEX', Buffer.from(stanza, 'latin1'), 0));
  const signature = tarFile(`.SIGN.RSA256.${primary.key.name}`, primary.key.sign('RSA256', member), 0);
  return Buffer.concat([storedGzip([signature]), member]);
}

test('nothing that an uploader names is shown as it is, wherever it is shown', { timeout: 600_000 }, async (t) => {
  const primary = await Primary.create({
    repositories: ['*/{arch}'],
    inbox: '    settle: 300ms',
    more: 'schedule: { rescan: 1s }\nlog: { level: debug }',
  });
  t.after(() => primary[Symbol.asyncDispose]());
  await primary.start();
  const repository = async (name: string, index: Buffer): Promise<void> => {
    await mkdir(join(primary.inbox, name, 'x86_64'), { recursive: true });
    await writeFile(join(primary.inbox, name, 'x86_64/APKINDEX.tar.gz'), index);
  };
  // Directories: a name with everything in it, one that is no UTF-8, one that looks like an option.
  const path = Buffer.from(`${primary.inbox}/`);
  for (const name of [
    Buffer.from(evil.replaceAll('/', '\\')),
    Buffer.from([0xff, 0xfe, 0x9b, 0x41]),
    Buffer.from('--delete'),
  ]) {
    const directory = Buffer.concat([path, name]);
    mkdirSync(directory);
    mkdirSync(Buffer.concat([directory, Buffer.from('/x86_64')]));
    writeFileSync(Buffer.concat([directory, Buffer.from('/x86_64/APKINDEX.tar.gz')]), 'x');
  }
  // Key names, fields of an index, the target of a symlink, a description.
  const stranger = new SampleRepository('keyname/x86_64', createSigningKey(evil.replaceAll('/', '|').slice(0, 50)));
  stranger.set({ name: 'a', version: '1-r0', contentBytes: 10, seed: 1 });
  await repository('keyname', stranger.index());
  const bytes = Buffer.from(evil.replaceAll('\n', ' ')).toString('latin1');
  await repository('field', signedIndex(primary, `C:Q1\nP:${bytes}\nV:1\nA:x86_64\nS:1\n\n`));
  await repository('version', signedIndex(primary, `C:Q1\nP:a\nV:1\x9b2J${bytes}\nA:x86_64\nS:1\n\n`));
  await mkdir(join(primary.inbox, 'link/x86_64'), { recursive: true });
  await symlink(`/etc/${evil}`, join(primary.inbox, 'link/x86_64/APKINDEX.tar.gz'));
  const good = primary.repository('good/x86_64');
  good.set({ name: 'good', version: '1-r0', contentBytes: 10, seed: 2 });
  await repository('good', good.index(evil.slice(0, 60)));
  await good.write(primary.inbox, { index: false });
  await primary.untilGeneration(1);
  const wanted = ['--delete', 'new', 'keyname', 'field', 'version', 'link'];
  await primary.until('every problem to be told', async () => {
    const paths = (await primary.status()).batches
      .filter((b) => b.state === 'rejected')
      .flatMap((b) => b.reasons.map((r) => r.path));
    return wanted.every((name) => paths.some((p) => p.startsWith(name)));
  });

  const { listen } = JSON.parse(primary.log.split('\n').find((line) => line.includes('"started"')) ?? '{}') as {
    listen: string;
  };
  for (const page of ['/', '/status.json', '/metrics']) {
    const text = await (await fetch(`http://${listen}${page}`)).text();
    assertSafe(text, page);
    if (page === '/') assert.doesNotMatch(text, /<script>alert/);
    if (page === '/metrics')
      for (const word of ['ltr', '--delete', 'keyname', 'alert(']) assert.ok(!text.includes(word), word);
  }
  assertSafe(primary.log, 'the log');
  for (const line of primary.log.trimEnd().split('\n')) assert.equal(typeof JSON.parse(line).event, 'string');
  const quarantine = join(primary.root, 'quarantine');
  let kept: string[] = [];
  await primary.until('the quarantine', async () => {
    kept = await readdir(quarantine, { recursive: true });
    return kept.some((name) => name.endsWith('keyname/x86_64/APKINDEX.tar.gz'));
  });
  for (const name of kept) {
    assertSafe(name, 'a name in the quarantine');
    if (name.endsWith('reason.json')) assertSafe(await readFile(join(quarantine, name), 'utf8'), name);
  }
  for (const args of [
    ['status', '--config', primary.configFile],
    ['status', '--json', '--config', primary.configFile],
    ['approve', evil, '--config', primary.configFile],
    ['push', evil, '--config', primary.configFile],
    [evil],
    ['verify', '--keys', join(primary.directory, 'keys'), primary.inbox],
    ['verify', '--json', '--keys', join(primary.directory, 'keys'), primary.inbox],
    ['check', '--config', join(primary.directory, evil.replaceAll('/', '|'))],
  ]) {
    const { stdout, stderr } = await exec([process.execPath, main, ...args], {
      timeoutMs: 300_000,
      env: childEnvironment(),
    });
    assert.ok(stdout.length + stderr.length > 0, args[0]);
    assertSafe(stdout, `stdout of ${args.slice(0, 2).join(' ')}`);
    assertSafe(stderr, `stderr of ${args.slice(0, 2).join(' ')}`);
  }
});
