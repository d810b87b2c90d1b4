/** `npm run package`: builds the Debian package from this checkout, the same bytes wherever and whenever that is done. */
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { debianArchitecture, type Package } from './control.ts';
import { fillStage } from './stage.ts';

const repository = resolve(import.meta.dirname, '../..');

const usage = `Usage: npm run package -- [--out DIRECTORY] [--version VERSION] [--compression xz|zstd|none]

Builds lockstepd_VERSION_ARCHITECTURE.deb in dist-deb/, or in DIRECTORY. Needs dpkg-deb, git and what npm ci installed.

  --version       Debian's version (default: package.json's, with the commit behind a ~ where that has no tag vVERSION)
  --compression   default xz; zstd is done in a second and a third larger

Environment: SOURCE_DATE_EPOCH (default: the time of the commit), DEBFULLNAME and DEBEMAIL (default: its author).
`;

async function run(argv: readonly [string, ...string[]], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const result = await exec(argv, { timeoutMs: 600_000, cwd: repository, env: childEnvironment(env) });
  if (result.code !== 0) throw new Error(`${argv.join(' ')} failed: ${result.stderr.trim()}`);
  return result.stdout.trim();
}

const git = (...args: readonly string[]): Promise<string> => run(['git', ...args]);

/** What the commit and the environment say about the package. */
async function identity(version: string | undefined): Promise<Package> {
  const { SOURCE_DATE_EPOCH: epoch, DEBFULLNAME: name, DEBEMAIL: mail } = process.env;
  return {
    version: version ?? (await versionOfCommit()),
    architecture: debianArchitecture(process.arch),
    packager: name && mail ? `${name} <${mail}>` : await git('log', '-1', '--format=%an <%ae>'),
    epoch: Number(epoch ?? (await git('log', '-1', '--format=%ct'))),
  };
}

async function versionOfCommit(): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  const tags = await git('tag', '--points-at', 'HEAD');
  if (tags.split('\n').includes(`v${version}`)) return `${version}-1`;
  const commit = await run(['git', 'log', '-1', '--date=format-local:%Y%m%d%H%M%S', '--format=%cd.%h', '--abbrev=7'], {
    TZ: 'UTC',
  });
  return `${version}~git${commit}-1`;
}

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'dist-deb' },
    version: { type: 'string' },
    compression: { type: 'string', default: 'xz' },
    help: { type: 'boolean' },
  },
});
if (values.help) {
  process.stdout.write(usage);
} else {
  const its = await identity(values.version);
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const file = join(out, `lockstepd_${its.version}_${its.architecture}.deb`);
  const stage = mkdtempSync(join(tmpdir(), 'lockstepd-deb-'));
  try {
    await fillStage(stage, its);
    // One thread: the bytes that several write depend on how many there are.
    await run(
      ['dpkg-deb', '--root-owner-group', '--threads-max=1', `-Z${values.compression}`, '--build', stage, `${file}.new`],
      { SOURCE_DATE_EPOCH: String(its.epoch) },
    );
    renameSync(`${file}.new`, file);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  process.stdout.write(`${file} (${(statSync(file).size / 1e6).toFixed(1)} MB)\n`);
}
