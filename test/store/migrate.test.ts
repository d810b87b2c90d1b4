import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test, { type TestContext } from 'node:test';
import { Database } from '../../src/store/database.ts';
import { migrations } from '../../src/store/schema.ts';
import { openStore } from '../../src/store/store.ts';

const released = resolve(import.meta.dirname, 'released');

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-migrate-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A state.db as that release left it. */
function restore(directory: string, release: string): string {
  const file = join(directory, 'state.db');
  const db = new DatabaseSync(file);
  db.exec(readFileSync(join(released, release), 'utf8'));
  db.close();
  return file;
}

function schemaOf(file: string): unknown[] {
  const db = new DatabaseSync(file);
  const objects = db.prepare('SELECT type, name, sql FROM sqlite_schema ORDER BY type, name').all();
  db.close();
  return objects.map(({ type, name, sql }) => [type, name, String(sql).replaceAll(/\s+/g, ' ')]);
}

for (const release of readdirSync(released)) {
  test(`the state of ${release} is opened by this version, upgraded, with all it knows`, (t) => {
    const directory = scratch(t);
    const file = restore(directory, release);
    const store = openStore(directory);
    assert.equal(store.generations.current()?.number, 2);
    assert.deepEqual(
      store.generations.indexesAt(2).map(({ repository, since }) => [repository, since]),
      [
        ['main/aarch64', 2],
        ['main/x86_64', 2],
      ],
    );
    assert.deepEqual(
      [...store.generations.packagesOf('main/x86_64', 2)].flat().map((row) => row.file),
      ['a-2-r0.apk', 'b-1-r0.apk'],
    );
    assert.equal(store.mirrors.open('paris', 'sftp:paris').confirmed, 2);
    assert.equal(store.decisions.find('main/x86_64/APKINDEX.tar.gz', 'f00')?.why, "it's wrong");
    store[Symbol.dispose]();
    const fresh = scratch(t);
    openStore(fresh)[Symbol.dispose]();
    assert.deepEqual(
      schemaOf(file),
      schemaOf(join(fresh, 'state.db')),
      `an upgraded state must be what a new one is; while ${release} is not released yet, dump it anew: node test/store/dump-state.ts > test/store/released/${release}`,
    );
  });
}

test('an upgrade keeps a copy of what it started from', (t) => {
  const file = restore(scratch(t), '0.1.0.sql');
  const steps = [...migrations, 'ALTER TABLE mirror ADD COLUMN note TEXT', "UPDATE mirror SET note = 'new'"];
  const db = Database.open(file, steps);
  assert.equal(db.get('SELECT note FROM mirror')?.note, 'new');
  assert.equal(db.get('PRAGMA user_version')?.user_version, steps.length);
  db[Symbol.dispose]();
  const copy = new DatabaseSync(`${file}.schema-${migrations.length}`);
  assert.equal(copy.prepare('PRAGMA user_version').get()?.user_version, migrations.length);
  assert.equal(copy.prepare('SELECT count(*) AS n FROM generation').get()?.n, 2);
  copy.close();
  // Nothing to do the next time, and nothing copied.
  rmSync(`${file}.schema-${migrations.length}`);
  Database.open(file, steps)[Symbol.dispose]();
  assert.equal(existsSync(`${file}.schema-${migrations.length}`), false);
});

test('an upgrade whose last step fails changes nothing', (t) => {
  const file = restore(scratch(t), '0.1.0.sql');
  const before = schemaOf(file);
  const steps = [...migrations, 'ALTER TABLE mirror ADD COLUMN note TEXT', 'ALTER TABLE nowhere ADD COLUMN note TEXT'];
  assert.throws(() => Database.open(file, steps), { code: 'STATE', message: /no such table: nowhere/ });
  assert.deepEqual(schemaOf(file), before);
  Database.open(file)[Symbol.dispose]();
});

test('the state of a newer version is refused and left as it is', (t) => {
  const directory = scratch(t);
  const file = restore(directory, '0.1.0.sql');
  Database.open(file, [...migrations, 'ALTER TABLE mirror ADD COLUMN note TEXT'])[Symbol.dispose]();
  const before = readFileSync(file);
  assert.throws(() => openStore(directory), { code: 'STATE', message: /written by a newer lockstepd \(schema \d+, / });
  assert.deepEqual(readFileSync(file), before);
});
