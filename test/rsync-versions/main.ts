/** `npm run rsync:versions`: lets the rsyncs of several Debian releases play the mirror's, and says in a table which tests hold with each. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type DebianRsync, fetchRelease, findArchive, releases } from './debian.ts';
import { type Outcome, runTests } from './tests.ts';

const usage = `Usage: npm run rsync:versions -- [--release NAME]...

Fetches rsync and rrsync of Debian's releases (${releases.join(', ')}; security archives too) from the archive that apt has
configured here, installs nothing, and runs the tests that talk to a mirror's rsync with each. Needs apt, sshd and an rsync of ours.

  --release NAME   that release only
`;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Everything that could be fetched; of what could not it says so. */
async function fetchAll(names: readonly string[], directory: string): Promise<DebianRsync[]> {
  const archive = await findArchive();
  if (typeof archive === 'string') {
    say(`SKIPPED, nothing was tried: ${archive}`);
    return [];
  }
  const all: DebianRsync[] = [];
  for (const name of names) {
    try {
      const found = await fetchRelease(name, archive, join(directory, name));
      say(`${name}: ${found.map(({ version }) => version).join(', ')}`);
      all.push(...found);
    } catch (error) {
      say(`SKIPPED: ${name} could not be fetched: ${String(error)}`);
    }
  }
  return all;
}

function rowOf({ version, suites }: DebianRsync, { passed, failed, skipped, known }: Outcome): string {
  const names = failed.map(({ name }) => name).join('<br>');
  const fields = [version, suites.join(', '), passed, failed.length, skipped.length, names, known.join('<br>')];
  return `| ${fields.map((field) => String(field).replaceAll('|', '\\|')).join(' | ')} |`;
}

async function tryAll(names: readonly string[], directory: string): Promise<void> {
  const rows = [
    '| rsync | release | passed | failed | skipped | what failed | known |',
    '|---|---|---|---|---|---|---|',
  ];
  const all = await fetchAll(names, directory);
  for (const one of all) {
    say(`\n${one.version} (${one.suites.join(', ')})`);
    const outcome = await runTests(one.bin, (name, result) => say(`  ${result} ${name}`));
    for (const { name, message } of outcome.failed) say(`\n${name}\n${message}`);
    for (const name of outcome.skipped) say(`  skipped: ${name}`);
    if (outcome.failed.length > 0 || outcome.passed === 0) process.exitCode = 1;
    rows.push(rowOf(one, outcome));
    say(`\n${rows.at(-1)}`);
  }
  if (all.length > 0) process.stdout.write(`\n${rows.join('\n')}\n`);
  else say('SKIPPED: no rsync of any release was tried');
}

const { values } = parseArgs({ options: { release: { type: 'string', multiple: true }, help: { type: 'boolean' } } });
if (values.help) {
  process.stdout.write(usage);
} else {
  const directory = mkdtempSync(join(tmpdir(), 'lockstepd-rsyncs-'));
  try {
    await tryAll(values.release ?? releases, directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
