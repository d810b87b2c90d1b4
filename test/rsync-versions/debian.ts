/** Fetches rsync and rrsync as Debian ships them in a release, with the libraries of that release, by apt's client; nothing is installed. */
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { missingProgram } from '../support/sshd.ts';

export const releases = ['bullseye', 'bookworm', 'trixie', 'sid'] as const;

/** Where this machine's apt has Debian from; `security` is null where it has no security archive. */
interface Archive {
  readonly main: string;
  readonly security: string | null;
}

/** An rsync that can play a mirror's. */
export interface DebianRsync {
  readonly version: string;
  /** The suites that ship it, as `bookworm` and `bookworm-security`. */
  readonly suites: readonly string[];
  /** The directory in which `rsync` and `rrsync` are. */
  readonly bin: string;
}

/** The usual place of the keys of Debian's archive; without it, apt's own choice of keys holds. */
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Of each index that apt has configured: its address and its suite. */
const targets = ['apt-get', 'indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages'] as const;

/** Debian's archive as apt has it configured, or in a sentence why there is none. */
export async function findArchive(): Promise<Archive | string> {
  const missing = missingProgram('apt-get', 'apt-cache', 'dpkg-deb');
  if (missing !== undefined) return `${missing} is not installed`;
  const lines = (await tool(targets, '/')).split('\n').map((line) => line.split(' '));
  const uriOf = (pattern: RegExp): string | undefined => lines.find(([, suite = '']) => pattern.test(suite))?.[0];
  const main = uriOf(/^(?:bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing|unstable)$/);
  if (main === undefined) return "apt's sources do not name Debian's archive";
  return { main, security: uriOf(/^\w+-security$/) ?? null };
}

/** Every rsync of a release: the one of its archive, and the one of its security archive. Throws what apt said. */
export async function fetchRelease(release: string, archive: Archive, directory: string): Promise<DebianRsync[]> {
  const options = configureApt(release, archive, directory);
  await patiently(['apt-get', ...options, 'update'], directory);
  const found = new Map<string, string[]>();
  // rsync | 3.2.3-4+deb11u1 | ADDRESS bullseye/main amd64 Packages
  for (const line of (await tool(['apt-cache', ...options, 'madison', 'rsync'], directory)).split('\n')) {
    const [, version = '', from = ''] = line.split('|').map((field) => field.trim());
    const suite = from.split(' ')[1]?.split('/')[0];
    if (suite !== undefined) found.set(version, [...(found.get(version) ?? []), suite]);
  }
  const all: DebianRsync[] = [];
  for (const [version, suites] of found) {
    const root = join(directory, version);
    await download(options, version, root);
    const bin = wrap(root);
    // What does not run at all would fail in a hundred tests.
    await tool([join(bin, 'rsync'), '--version'], root);
    all.push({ version, suites, bin });
  }
  return all.toReversed();
}

/** The options by which apt knows this release only, and keeps everything below `directory`. */
function configureApt(release: string, { main, security }: Archive, directory: string): string[] {
  for (const name of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(join(directory, name), { recursive: true });
  const signed = existsSync(keyring) ? `[signed-by=${keyring}] ` : '';
  const lines = [`deb ${signed}${main} ${release} main`];
  if (security !== null && release !== 'sid') lines.push(`deb ${signed}${security} ${release}-security main`);
  writeFileSync(join(directory, 'sources.list'), `${lines.join('\n')}\n`);
  // With what is installed here, that would be the version to download.
  writeFileSync(join(directory, 'status'), '');
  return [
    `Dir::Etc::sourcelist=${join(directory, 'sources.list')}`,
    'Dir::Etc::sourceparts=-',
    `Dir::State=${join(directory, 'state')}`,
    `Dir::State::status=${join(directory, 'status')}`,
    `Dir::Cache=${join(directory, 'cache')}`,
    `APT::Sandbox::User=${userInfo().username}`,
    'APT::Update::Error-Mode=any',
  ].flatMap((option) => ['-o', option]);
}

/** Unpacks that rsync and the libraries that it depends on, and those that they depend on, into `root`. */
async function download(options: readonly string[], version: string, root: string): Promise<void> {
  mkdirSync(root);
  const asked = new Set(['rsync']);
  for (let wanted = [`rsync=${version}`]; wanted.length > 0; ) {
    const before = globSync('*.deb', { cwd: root });
    await patiently(['apt-get', ...options, 'download', ...wanted], root);
    wanted = [];
    for (const file of globSync('*.deb', { cwd: root }).filter((one) => !before.includes(one))) {
      await tool(['dpkg-deb', '-x', file, root], root);
      const depends = await tool(['dpkg-deb', '--field', file, 'Depends'], root);
      const names = depends.split(',').map((one) => one.trim().split(/[ |:(]/)[0] ?? '');
      wanted.push(...names.filter((name) => /^(?:lib|zlib)/.test(name) && !asked.has(name) && asked.add(name)));
    }
  }
}

/** Writes the programs of an unpacked release, each with the loader, the libraries and the paths of that release. */
function wrap(root: string): string {
  const bin = join(root, 'bin-mirror');
  mkdirSync(bin);
  const rsync = join(bin, 'rsync');
  const [loader] = globSync('{usr/lib,lib}/*-linux-gnu*/ld-*linux*.so.*', { cwd: root });
  const libraries = globSync('{usr/lib,lib}/*-linux-gnu*', { cwd: root }).map((one) => join(root, one));
  // In bullseye it is an example that the owner of the mirror has to install.
  const [rrsync] = globSync(['usr/bin/rrsync', 'usr/share/{rsync,doc/rsync}/scripts/rrsync'], { cwd: root });
  if (loader === undefined || rrsync === undefined) throw new Error(`no ${loader ? 'rrsync' : 'loader'} below ${root}`);
  const program = `${join(root, loader)} --library-path ${libraries.join(':')} ${join(root, 'usr/bin/rsync')}`;
  writeFileSync(rsync, `#!/bin/sh\nexec ${program} "$@"\n`, { mode: 0o755 });
  const script = readFileSync(join(root, rrsync), 'utf8')
    .replace(/^#!.*python3$/m, '#!/usr/bin/python3')
    .replace(/(RSYNC =>? )'\/usr\/bin\/rsync'/, `$1'${rsync}'`);
  if (!script.includes(rsync)) throw new Error(`${rrsync} does not name its rsync where it is looked for`);
  writeFileSync(join(bin, 'rrsync'), script, { mode: 0o755 });
  return bin;
}

/** Archives are slow at times: a deadline, and one more try. */
async function patiently(argv: readonly [string, ...string[]], cwd: string): Promise<string> {
  return tool(argv, cwd).catch(() => tool(argv, cwd));
}

/** Proxies that the operator has set hold for apt too. */
const proxies = Object.entries(process.env).filter(([name]) => /^(?:https?|no)_proxy$/i.test(name));

async function tool(argv: readonly [string, ...string[]], cwd: string): Promise<string> {
  const env = childEnvironment(Object.fromEntries(proxies) as Record<string, string>);
  const result = await exec(argv, { cwd, env, timeoutMs: 180_000 });
  if (result.code === 0) return result.stdout;
  const [program, ...rest] = argv;
  const how = result.timedOut ? 'was not over after 180 s' : `ended with ${result.code}`;
  throw new Error(`${program} ${rest.at(-1)} ${how}: ${result.stderr.trim()}`);
}
