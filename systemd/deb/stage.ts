/** Lays out the files of the package in an empty directory, as they will lie on a host, each with its mode and the same time. */
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, cpSync, existsSync, globSync, lstatSync, lutimesSync, mkdirSync } from 'node:fs';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { changelogText, controlText, lintianOverrides, type Package } from './control.ts';
import { copyrightText } from './copyright.ts';
import { filesIn, runtimeDependencies } from './dependencies.ts';

const repository = resolve(import.meta.dirname, '../..');
const library = 'usr/lib/lockstepd';
const documents = 'usr/share/doc/lockstepd';
const shared = 'usr/share/lockstepd';

/** What may be started, beside the scripts among the examples; everything else is only read. */
const programs = ['usr/bin/lockstepd', `${library}/bin/node`];

/** Fills `stage`, which exists and is empty. Needs `npm ci`; compiles src by itself, so that nothing old gets in. */
export async function fillStage(stage: string, its: Package): Promise<void> {
  const to = (path: string): string => {
    mkdirSync(dirname(join(stage, path)), { recursive: true });
    return join(stage, path);
  };
  const put = (path: string, text: string | Buffer): void => writeFileSync(to(path), text);
  const copy = (from: string, path: string): void => copyFileSync(join(repository, from), to(path));

  await compile(to(`${library}/dist`));
  const { name, version, type } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as Record<
    string,
    string
  >;
  put(`${library}/package.json`, `${JSON.stringify({ name, version, type })}\n`);
  const dependencies = runtimeDependencies(repository);
  for (const { directory, files } of dependencies)
    for (const file of files) copy(`${directory}/${file}`, `${library}/${directory}/${file}`);
  copy('node_modules/node/bin/node', `${library}/bin/node`);
  copy('systemd/deb/lockstepd', 'usr/bin/lockstepd');

  copy('systemd/lockstepd.service', 'usr/lib/systemd/system/lockstepd.service');
  copy('systemd/lockstepd.sysusers.conf', 'usr/lib/sysusers.d/lockstepd.conf');
  copy('systemd/lockstepd.tmpfiles.conf', 'usr/lib/tmpfiles.d/lockstepd.conf');

  // The daemon may read them, so they lie outside of the documentation, which a host may go without.
  cpSync(join(repository, 'config'), to(`${shared}/config`), {
    recursive: true,
    filter: (from) => !from.endsWith('.test.yml') && from !== join(repository, 'config/docs'),
  });
  symlinkSync(`../../share/lockstepd/config`, to(`${library}/config`));
  symlinkSync('../../lockstepd/config', to(`${documents}/examples`));
  // Where the manual pages send people.
  symlinkSync('../../lockstepd/lockstepd.schema.json', to(`${documents}/lockstepd.schema.json`));
  symlinkSync('examples/lockstepd.example.yaml', to(`${documents}/lockstepd.example.yaml`));
  copy('README.md', `${documents}/README.md`);
  for (const file of globSync('*.md', { cwd: join(repository, 'config/docs') }))
    copy(`config/docs/${file}`, `${documents}/${file}`);
  put(`${documents}/copyright`, copyrightText(repository, dependencies));
  put(`${documents}/changelog.gz`, packed(readFileSync(join(repository, 'CHANGELOG.md'))));
  put(`${documents}/changelog.Debian.gz`, packed(changelogText(its)));
  await generate(stage, its.epoch, put);
  put('usr/share/lintian/overrides/lockstepd', lintianOverrides);

  const files = filesIn(stage);
  for (const script of ['postinst', 'prerm', 'postrm']) copy(`systemd/deb/${script}`, `DEBIAN/${script}`);
  const sums = await Promise.all(files.map(async (file) => `${await md5(join(stage, file))}  ${file}\n`));
  put('DEBIAN/md5sums', sums.join(''));
  put(
    'DEBIAN/control',
    controlText(
      its,
      files.reduce((sum, file) => sum + lstatSync(join(stage, file)).size, 0),
    ),
  );
  settle(stage, its.epoch);
}

async function compile(outDir: string): Promise<void> {
  const tsc = join(repository, 'node_modules/.bin/tsc');
  const result = await exec([tsc, '-p', join(repository, 'src'), '--outDir', outDir], {
    timeoutMs: 120_000,
    env: childEnvironment(),
  });
  if (result.code !== 0) throw new Error(`tsc does not compile src:\n${result.stdout}${result.stderr}`);
}

/** Manual pages, completions and the schema, told by the program as it was packed. */
async function generate(
  stage: string,
  epoch: number,
  put: (path: string, text: string | Buffer) => void,
): Promise<void> {
  const pages = mkdtempSync(join(tmpdir(), 'lockstepd-man-'));
  const ask = async (...args: readonly string[]): Promise<string> => {
    const program = [join(stage, library, 'bin/node'), join(stage, library, 'dist/main.js')] as const;
    const env = childEnvironment({ SOURCE_DATE_EPOCH: String(epoch) });
    const output: Buffer[] = [];
    const onStdout = (chunk: Buffer): void => void output.push(chunk);
    const { code, stderr } = await exec([...program, ...args], { timeoutMs: 60_000, env, onStdout });
    if (code !== 0) throw new Error(`lockstepd ${args.join(' ')} ended with ${code}: ${stderr}`);
    return Buffer.concat(output).toString('utf8');
  };
  try {
    await ask('generate', 'man', '--into', pages);
    for (const file of readdirSync(pages).sort())
      put(`usr/share/man/man${file.at(-1)}/${file}.gz`, packed(readFileSync(join(pages, file))));
  } finally {
    rmSync(pages, { recursive: true, force: true });
  }
  put(`${shared}/lockstepd.schema.json`, await ask('generate', 'schema'));
  put('usr/share/bash-completion/completions/lockstepd', await ask('completion', 'bash'));
  put('usr/share/zsh/vendor-completions/_lockstepd', await ask('completion', 'zsh'));
  put('usr/share/fish/vendor_completions.d/lockstepd.fish', await ask('completion', 'fish'));
}

function packed(text: string | Buffer): Buffer {
  return gzipSync(text, { level: 9 });
}

async function md5(file: string): Promise<string> {
  const hash = createHash('md5');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** Whatever the umask and the clock of the host were: 0755 for directories and programs, 0644, and one time. */
function settle(stage: string, epoch: number): void {
  const visit = (path: string): void => {
    const full = join(stage, path);
    const facts = lstatSync(full);
    if (facts.isDirectory()) for (const name of readdirSync(full)) visit(path === '' ? name : `${path}/${name}`);
    const script = path.startsWith(`${shared}/config/`) && (facts.mode & 0o100) !== 0;
    const startable = facts.isDirectory() || script || programs.includes(path) || /^DEBIAN\/p(?:ost|re)/.test(path);
    if (!facts.isSymbolicLink()) chmodSync(full, startable ? 0o755 : 0o644);
    lutimesSync(full, epoch, epoch);
  };
  visit('');
  const absent = programs.filter((path) => !existsSync(join(stage, path)));
  if (absent.length > 0) throw new Error(`the package lacks ${absent.join(', ')}: run npm ci, then build again`);
}
