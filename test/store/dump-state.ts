/** Prints the state after two generations as SQL text: how a release is kept, `node test/store/dump-state.ts > test/store/released/VERSION.sql`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PublishWorld } from '../publish/world.ts';

/** The schema, the rows and the schema version, in an order in which they can be executed again. */
function dumpState(file: string): string {
  using db = new DatabaseSync(file, { readOnly: true });
  const objects = db
    .prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'index', rowid")
    .all() as { type: string; name: string; sql: string }[];
  const lines = objects.map(({ sql }) => `${sql};`);
  for (const { name } of objects.filter(({ type }) => type === 'table')) {
    for (const row of db.prepare(`SELECT * FROM ${name}`).all()) {
      const values = Object.values(row).map((value) =>
        typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : String(value),
      );
      lines.push(`INSERT INTO ${name} (${Object.keys(row).join(', ')}) VALUES (${values.join(', ')});`);
    }
  }
  const version = db.prepare('PRAGMA user_version').get()?.user_version;
  return `${lines.join('\n')}\nPRAGMA user_version=${String(version)};\n`;
}

async function fill(directory: string): Promise<void> {
  using world = new PublishWorld(directory);
  await world.publisher.recover();
  await world.publish({ 'main/x86_64': { 'a@1-r0': 'aaa', 'b@1-r0': 'bbb' } });
  world.clock.nowMs += 60_000;
  await world.publish({ 'main/x86_64': { 'a@2-r0': 'aaaa', 'b@1-r0': 'bbb' }, 'main/aarch64': { 'c@1-r0': 'cc' } });
  const atMs = world.clock.nowMs;
  world.store.mirrors.open('paris', 'sftp:paris');
  world.store.mirrors.confirm('paris', 2, atMs);
  const indexes = [{ path: 'main/x86_64/APKINDEX.tar.gz', sha256: 'f00', base: 1, reasons: [] }];
  world.store.decisions.add({
    batch: 'x',
    builder: 'b',
    decision: 'rejected',
    who: 'ops',
    why: "it's wrong",
    atMs,
    indexes,
  });
  await world.publisher.stop();
}

const directory = mkdtempSync(join(tmpdir(), 'lockstepd-dump-'));
try {
  await fill(directory);
  process.stdout.write(dumpState(join(directory, 'state/state.db')));
} finally {
  rmSync(directory, { recursive: true, force: true });
}
