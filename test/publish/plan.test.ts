import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import * as fc from 'fast-check';
import { applySteps } from '../../src/publish/apply.ts';
import { planTree, type Step, traceContent } from '../../src/publish/plan.ts';
import type { IndexRow, PackageRow } from '../../src/store/generations.ts';
import { temporaryDirectory } from '../support/apk.ts';

function packageRow(repository: string, file: string, source: string | null): PackageRow {
  return { id: 1, repository, file, size: 1, mtimeSeconds: 1, sha256: '', source, retained: false };
}

function indexRow(repository: string, source: string | null): IndexRow {
  return {
    repository,
    file: 'APKINDEX.tar.gz',
    since: 1,
    sha256: 'cafe',
    size: 1,
    mtimeSeconds: 1,
    packages: 1,
    signedBy: 'k',
    builder: 'b',
    source,
  };
}

const trace = { content: 'trace', mtimeSeconds: 1_700_000_000 };

test('packages come before indexes, the trace after them, and every directory is synced after what it got', () => {
  const steps = [
    ...planTree({
      tree: 'b',
      currentTree: 'a',
      packages: [
        [packageRow('v1/main/x86_64', 'new.apk', 'ingest/b/1.apk')],
        [packageRow('v1/main/x86_64', 'old.apk', null)],
      ],
      indexes: [indexRow('v1/main/x86_64', 'ingest/b/1.index')],
      left: [],
      trace,
    }),
  ];
  const text = steps.map((s) =>
    s.kind === 'link' ? `${s.source} > ${s.path}` : s.kind === 'sync' ? `sync ${s.directory}` : s.kind,
  );
  assert.deepEqual(text, [
    'ingest/b/1.apk > trees/b/v1/main/x86_64/new.apk',
    'trees/a/v1/main/x86_64/old.apk > trees/b/v1/main/x86_64/old.apk',
    'sync trees/b/v1/main/x86_64',
    'ingest/b/1.index > trees/b/v1/main/x86_64/APKINDEX.tar.gz',
    'sync trees/b/v1/main/x86_64',
    'write',
    'sync trees/b/v1/main',
    'sync trees/b/v1',
    'sync trees/b',
    'sync trees',
  ]);
});

test('the trace names generation, time and the digest of each index', () => {
  assert.deepEqual(
    JSON.parse(
      traceContent({ generation: 7, primary: 'one', publishedAt: '2026-11-22T00:00:00Z' }, [
        indexRow('main/x86_64', null),
      ]),
    ),
    {
      version: 1,
      generation: 7,
      primary: 'one',
      published_at: '2026-11-22T00:00:00Z',
      repositories: [{ path: 'main/x86_64', index: 'APKINDEX.tar.gz', index_sha256: 'cafe', packages: 1 }],
    },
  );
});

const name = fc.constantFrom('a', 'b', 'c', 'd');
const repository = fc.constantFrom('main/x86_64', 'main/armhf', 'extra/x/armhf');
const newPackages = fc.uniqueArray(fc.record({ repository, name, content: fc.constantFrom('1', '22', '333') }), {
  selector: (p) => `${p.repository}/${p.name}`,
});

test('cut off after any step and done again from the start, the steps give the same tree', async (t) => {
  let round = 0;
  await fc.assert(
    fc.asyncProperty(newPackages, newPackages, fc.nat(30), async (before, after, cut) => {
      const root = join(temporaryDirectory(t), String(round++));
      for (const directory of ['ingest', 'trees/b']) mkdirSync(join(root, directory), { recursive: true });
      const expected: Record<string, string> = { 'lockstep.json': 'trace' };
      for (const p of before) {
        mkdirSync(join(root, 'trees/b', p.repository), { recursive: true });
        writeFileSync(join(root, 'trees/b', p.repository, p.name), p.content);
        expected[`${p.repository}/${p.name}`] = p.content;
      }
      const rows = after.map((p, n) => {
        writeFileSync(join(root, `ingest/${n}`), p.content);
        expected[`${p.repository}/${p.name}`] = p.content;
        return packageRow(p.repository, p.name, `ingest/${n}`);
      });
      const steps: Step[] = [
        ...planTree({ tree: 'b', currentTree: null, packages: [rows], indexes: [], left: [], trace }),
      ];
      await applySteps(root, steps.slice(0, cut));
      await applySteps(root, steps);
      const entries = readdirSync(join(root, 'trees/b'), { recursive: true, withFileTypes: true });
      const files = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
      const found = Object.fromEntries(
        files.map((f) => [f.slice(join(root, 'trees/b/').length), readFileSync(f, 'utf8')]),
      );
      assert.deepEqual(found, expected);
      assert.equal(statSync(join(root, 'trees/b/lockstep.json')).mtimeMs, trace.mtimeSeconds * 1000);
      const left = readdirSync(join(root, 'ingest')).filter((n) => n.startsWith('.'));
      assert.deepEqual(left, []);
    }),
    { numRuns: 150 },
  );
});

test('an aborted signal stops between steps; a step in hand is finished', async (t) => {
  const root = temporaryDirectory(t);
  for (const directory of ['ingest', 'trees/b']) mkdirSync(join(root, directory), { recursive: true });
  const abort = new AbortController();
  function* steps(): Generator<Step> {
    yield { kind: 'write', path: 'trees/b/first', content: 'x', mtimeSeconds: 1 };
    abort.abort(new Error('enough'));
    yield { kind: 'write', path: 'trees/b/second', content: 'x', mtimeSeconds: 1 };
  }
  await assert.rejects(applySteps(root, steps(), abort.signal), /enough/);
  assert.deepEqual(readdirSync(join(root, 'trees/b')), ['first']);
});
