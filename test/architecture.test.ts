import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import test from 'node:test';

const source = resolve(import.meta.dirname, '../src');

/** Rooms in the order of the design; a file may import from its own room and from earlier ones. */
const rooms = [
  'errors',
  'system',
  'apk',
  'trust',
  'config',
  'store',
  'ingest',
  'publish',
  'replicate',
  'observe',
  'daemon',
  'cli',
  'main',
];

/** Files that decide and never act: they may import other pure files and what is listed in `harmless`. */
const pure = [
  'errors.ts',
  'system/instant.ts',
  'apk/adb-blocks.ts',
  'apk/adb-index.ts',
  'apk/adb-package.ts',
  'apk/adb-values.ts',
  'apk/adb-writer.ts',
  'apk/adb-zstd.ts',
  'apk/changes.ts',
  'apk/description.ts',
  'apk/entry.ts',
  'apk/limits.ts',
  'apk/path.ts',
  'apk/pkgname-spec.ts',
  'apk/table.ts',
  'apk/version.ts',
  'trust/algorithms.ts',
  'trust/standing.ts',
  'trust/validity.ts',
  'config/consistency.ts',
  'config/diff.ts',
  'config/example-notes.ts',
  'config/fields.ts',
  'config/json-schema.ts',
  'config/key-scope.ts',
  'config/keys-schema.ts',
  'config/guards-schema.ts',
  'config/hooks-schema.ts',
  'config/mirror-schema.ts',
  'config/mirror-limits-schema.ts',
  'config/names.ts',
  'config/part.ts',
  'config/quiet.ts',
  'config/quota-schema.ts',
  'config/scrub-schema.ts',
  'config/schema.ts',
  'config/trigger-schema.ts',
  'config/takeover-schema.ts',
  'config/switch-schema.ts',
  'replicate/takeover.ts',
  'replicate/together.ts',
  'replicate/fellow.ts',
  'config/template.ts',
  'config/units.ts',
  'store/trace.ts',
  'ingest/batch.ts',
  'ingest/together.ts',
  'ingest/pace.ts',
  'ingest/quotas.ts',
  'ingest/guards.ts',
  'publish/plan.ts',
  'publish/generation.ts',
  'publish/retention.ts',
  'publish/rollback-plan.ts',
  'replicate/backoff.ts',
  'replicate/mirror.ts',
  'replicate/plan.ts',
  'replicate/rsync-delivery.ts',
  'replicate/rsync-list.ts',
  'replicate/rsync-wire.ts',
  'replicate/saved-state.ts',
  'replicate/transport.ts',
  'config/announce-schema.ts',
  'config/identity.ts',
  'config/rclone-schema.ts',
  'replicate/rclone-plan.ts',
  'replicate/rclone-faults.ts',
  'replicate/announce-plan.ts',
  'replicate/faults.ts',
  'daemon/reload.ts',
  'daemon/scrub-sample.ts',
  'replicate/fence.ts',
  'replicate/namesake.ts',
  'observe/announcements.ts',
  'observe/arrivals.ts',
  'observe/private-host.ts',
  'observe/unanswered.ts',
  'observe/unanswered.ts',
  'observe/upstreams.ts',
  'observe/scrub.ts',
  'observe/status.ts',
  'observe/switch.ts',
  'observe/config.ts',
  'observe/hooks.ts',
  'observe/hook-payload.ts',
  'replicate/block-event.ts',
  'observe/observation.ts',
  'observe/words.ts',
  'observe/standing.ts',
  'observe/spread.ts',
  'observe/sparkline.ts',
  'observe/page-model.ts',
  'observe/public-status.ts',
  'observe/mirror-lists.ts',
  'observe/lag-history.ts',
  'observe/propagation.ts',
  'observe/period.ts',
  'observe/progress.ts',
  'observe/terminal.ts',
  'observe/words.ts',
  'cli/init-snippets.ts',
  'cli/init-volunteer.ts',
  'cli/doctor/accounts.ts',
  'cli/doctor/disks.ts',
  'cli/doctor/finding.ts',
  'cli/doctor/limits.ts',
  'cli/doctor/online.ts',
  'cli/doctor/parents.ts',
  'cli/doctor/permissions.ts',
  'cli/doctor/programs.ts',
  'cli/doctor/service.ts',
  'cli/doctor/sshd.ts',
  'cli/doctor/trusted-keys.ts',
  'cli/spec.ts',
  'cli/help.ts',
  'cli/man.ts',
  'cli/man-config.ts',
  'cli/completion-bash.ts',
  'cli/completion-fish.ts',
  'cli/completion-zsh.ts',
  ...globSync('cli/specs/*.ts', { cwd: source }),
];
const harmless = ['zod', 'node:path/posix'];

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

export function importsOf(file: string, text: string): Import[] {
  const found = [
    ...text.matchAll(
      /^\s*(?:import|export)\s+(type\s)?[^;'"]*?from\s+'([^']+)'|^\s*import\s+'([^']+)'|import\(\s*'([^']+)'\s*\)/gm,
    ),
  ];
  return found.map((m) => ({ file, typeOnly: m[1] !== undefined, target: m[2] ?? m[3] ?? m[4] ?? '' }));
}

export function roomOf(file: string): string {
  return (file.split('/')[0] ?? '').replace(/\.ts$/, '');
}

const files = globSync('**/*.ts', { cwd: source }).sort();
const imports = files.flatMap((file) => importsOf(file, readFileSync(join(source, file), 'utf8')));
const inside = (i: Import): string => relative(source, resolve(source, dirname(i.file), i.target));

test('every source file stands in a room of the design', () => {
  assert.deepEqual(
    files.filter((file) => !rooms.includes(roomOf(file))),
    [],
  );
  assert.ok(imports.length > 20, 'the reader of imports sees imports');
});

test('imports point one way', () => {
  const backwards = imports
    .filter((i) => i.target.startsWith('.'))
    .filter((i) => rooms.indexOf(roomOf(inside(i))) > rooms.indexOf(roomOf(i.file)))
    .map((i) => `${i.file} imports ${inside(i)}`);
  assert.deepEqual(backwards, []);
});

test('pure files import nothing that acts', () => {
  const missing = pure.filter((file) => !files.includes(file));
  assert.deepEqual(missing, [], 'the list names files that exist');
  const acting = imports
    .filter((i) => pure.includes(i.file) && !i.typeOnly)
    .filter((i) => (i.target.startsWith('.') ? !pure.includes(inside(i)) : !harmless.includes(i.target)))
    .map((i) => `${i.file} imports ${i.target}`);
  assert.deepEqual(acting, []);
});

test('each wrapped library is imported by one file', () => {
  const wrapped = ['chokidar', 'node-cron', 'ssh2', 'p-retry', 'prom-client', 'yaml', 'pino', 'mqtt', 'node:sqlite'];
  const users = wrapped.map((name) => [
    name,
    new Set(imports.filter((i) => i.target === name).map((i) => i.file)).size,
  ]);
  // The embedded SFTP server of the demo has a file of its own, so that the daemon never loads it.
  assert.deepEqual(
    users.filter(([name, count]) => Number(count) > (name === 'ssh2' ? 2 : 1)),
    [],
  );
});

test('the reader of imports sees each form of import', () => {
  const text =
    "import a from 'a';\nimport type { B } from './b.ts';\nexport { c } from 'c';\nimport 'd';\nconst e = await import('e');\nimport {\n  f,\n} from 'f';\n";
  assert.deepEqual(
    importsOf('x.ts', text).map((i) => [i.target, i.typeOnly]),
    [
      ['a', false],
      ['./b.ts', true],
      ['c', false],
      ['d', false],
      ['e', false],
      ['f', false],
    ],
  );
});
