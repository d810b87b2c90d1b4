import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import test from 'node:test';
import { z } from 'zod';
import { manPages } from '../../src/cli/generate-man.ts';
import { generateSchema } from '../../src/cli/generate-schema.ts';
import { optionsOf } from '../../src/cli/spec.ts';
import { specs } from '../../src/cli/specs/all.ts';
import { readYaml } from '../../src/config/document.ts';
import { exampleNotes } from '../../src/config/example-notes.ts';
import { configJsonSchema, type JsonSchema } from '../../src/config/json-schema.ts';
import { childEnvironment, exec } from '../../src/system/exec.ts';

const repository = resolve(import.meta.dirname, '../..');
const main = join(repository, 'src/main.ts');
const context = { version: '1.2.3', date: '2026-11-23' };

const lockstepd = (...args: string[]) =>
  exec([process.execPath, main, ...args], {
    env: childEnvironment({ SOURCE_DATE_EPOCH: '1700000000' }),
    timeoutMs: 120_000,
  });

test('manual pages are what mandoc has nothing to say against, style apart', async (t) => {
  if (!existsSync('/usr/bin/mandoc')) return t.skip('mandoc absent');
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-man-'));
  t.after(() => rm(directory, { recursive: true }));
  const { code, stdout } = await lockstepd('generate', 'man', '--into', directory);
  const files = stdout.trimEnd().split('\n');
  assert.deepEqual(
    [code, files.map((file) => basename(file)).sort()],
    [0, ['lockstepd.1', 'lockstepd.yaml.5', ...specs.map(({ name }) => `lockstepd-${name}.1`)].sort()],
  );
  const lint = await exec(['mandoc', '-T', 'lint', '-W', 'warning', ...(files as [string, ...string[]])], {
    env: childEnvironment(),
    timeoutMs: 120_000,
  });
  assert.deepEqual([lint.code, lint.stdout], [0, '']);
  assert.match(readFileSync(join(directory, 'lockstepd.1'), 'latin1'), /^\.TH lockstepd 1 2023-11-14 /);
  const shown = await exec(['mandoc', '-T', 'ascii', '-O', 'width=90', join(directory, 'lockstepd-rollback.1')], {
    env: childEnvironment(),
    timeoutMs: 120_000,
  });
  const plain = shown.stdout
    .split('')
    .filter((c, i, all) => c !== '\b' && all[i + 1] !== '\b')
    .join('');
  assert.match(plain, /lockstepd rollback --to 41 --reason 'mesa 25\.3 breaks the boot' --dry-run\n/);
  assert.match(plain, /lockstepd rollback --to N --reason TEXT/);
});

test('a manual page names every option of its command', async () => {
  const pages = await manPages(context);
  for (const spec of specs) {
    const text = (pages.get(`lockstepd-${spec.name}.1`) ?? '').replaceAll('\\-', '-');
    for (const { name } of optionsOf(spec)) assert.ok(text.includes(`--${name}`), `${spec.name} --${name}`);
    assert.doesNotMatch(text, /undefined|[^.]\.\.\n|\0/);
  }
});

test('generate man prints one page, and knows no others', async () => {
  const pages = await manPages(context);
  const printed = await lockstepd('generate', 'man', 'lockstepd-push');
  assert.match(printed.stdout, /^\.TH lockstepd-push 1 2023-11-14 "lockstepd /);
  assert.equal(
    printed.stdout.split('\n').slice(1).join('\n'),
    pages.get('lockstepd-push.1')?.split('\n').slice(1).join('\n'),
  );
  assert.equal((await lockstepd('generate', 'man', 'lockstepd-pull')).code, 2);
  assert.equal((await lockstepd('generate', 'man', 'lockstepd', '--into', '/tmp')).code, 2);
  const nowhere = await lockstepd('generate', 'man', '--into', '/nowhere');
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /^lockstepd: generate man: \/nowhere\/lockstepd\.1: .*: make the directory first\n$/);
});

const schemaText = await generateSchema();
const schema = JSON.parse(schemaText) as JsonSchema;

test('generate schema prints the schema', async () => {
  // Longer than what exec keeps.
  const chunks: Buffer[] = [];
  await exec([process.execPath, main, 'generate', 'schema'], {
    env: childEnvironment(),
    timeoutMs: 120_000,
    onStdout: (chunk) => void chunks.push(chunk),
  });
  assert.equal(Buffer.concat(chunks).toString(), schemaText);
});

test('the schema takes the shipped examples, empty sections too, and refuses unknown keys at any depth', () => {
  const validate = z.fromJSONSchema(JSON.parse(schemaText) as Parameters<typeof z.fromJSONSchema>[0]);
  const example = readFileSync(join(repository, 'config/lockstepd.example.yaml'), 'utf8');
  const files = globSync('*.yaml', { cwd: join(repository, 'config') });
  assert.ok(files.includes('lockstepd.example.yaml') && files.includes('leaf.yaml'));
  const check = (text: string) => {
    const { value, problems } = readYaml('x', text);
    assert.deepEqual(problems, []);
    return validate.safeParse(value);
  };
  for (const file of files) {
    const result = check(readFileSync(join(repository, 'config', file), 'utf8'));
    assert.equal(result.success, true, `${file}: ${result.error?.message}`);
  }
  const wrong: [string, string][] = [
    ['root: /srv/mirror', 'rooot: /srv/mirror'],
    ['    keys: ', '    kys: 1\n    keys: '],
    ['      user: lockstep\n', '      user: lockstep\n      pasword: x\n'],
    ['      type: pull', '      type: pull\n      host: x'],
    ['log:\n', 'log:\n  levle: info\n'],
    ['      type: sftp', '      type: stfp'],
    ['    path: inbox/build.example.org\n', ''],
    ['# workers: 1', 'workers: 99'],
  ];
  for (const [from, to] of wrong) {
    assert.ok(example.includes(from), from);
    assert.equal(check(example.replace(from, to)).success, false, to);
  }
});

test('the schema explains keys in the words of the annotated example, and says what is expected', () => {
  const inbox = schema.properties?.inboxes?.items?.properties ?? {};
  assert.deepEqual(inbox.settle, {
    type: ['string', 'number'],
    default: '5s',
    description:
      'How long an upload must be over and unchanged before what is missing or wrong in it is reported.\n\nExpected: a duration from 0 to 1d',
  });
  assert.match(
    inbox.keys?.description ?? '',
    /with lines like\n {2}not_before = 2026-01-01\n {2}not_after = 2027-12-31\n\(days/,
  );
  assert.match(inbox.keys?.description ?? '', /directories:\n {2}keys:\n {4}- \/etc\/lockstepd/);
  const transports = schema.properties?.mirrors?.items?.properties?.transport?.oneOf ?? [];
  const of = (type: string) => transports.find(({ properties }) => properties?.type?.const === type);
  assert.match(of('rsync')?.properties?.path?.description ?? '', /rrsync takes its own directory/);
  assert.doesNotMatch(of('directory')?.properties?.path?.description ?? '', /rrsync/);
  assert.match(of('sftp')?.properties?.host_key?.description ?? '', /ssh-keyscan/);
  assert.match(of('pull')?.description ?? '', /^Pulls when it likes/);
  assert.doesNotMatch(schema.properties?.mirrors?.items?.properties?.url?.description ?? '', /Pulls when/);
  assert.deepEqual(schema.properties?.log?.type, ['object', 'null']);
});

test('a key of the example is explained by the comment above it, commented out or not', () => {
  const shape: JsonSchema = {
    properties: {
      a: { type: 'string' },
      b: { type: 'string' },
      list: { items: { properties: { name: { type: 'string' }, size: { type: 'string' } } } },
    },
  };
  const text =
    '# Head.\n\n# About a,\n# in two lines.\na: 1\n# b: 2\n# list:\n#   - name: x\n#     # The size.\n#     size: 1\n';
  const notes = exampleNotes(text, shape);
  assert.deepEqual(
    ['a', 'b', 'list[].name', 'list[].size'].map((path) => notes(path, null)),
    ['About a, in two lines.', null, null, 'The size.'],
  );
  assert.equal(exampleNotes('# Both.\n# a: 1\n# b: 2\n', shape)('b', null), 'Both.');
  assert.equal(configJsonSchema(() => 'note').properties?.root?.description, 'note\n\nExpected: an absolute path');
});
