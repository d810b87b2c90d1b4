/** What the bench of the fleet runs on: many mirrors of one primary behind one sshd, and the peers that do the same work. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import type { Sshd } from '../support/sshd.ts';
import { untilReplaced, within } from './figures.ts';
import { configure, stateOf, type World } from './world.ts';

export interface FleetMirror {
  readonly name: string;
  readonly kind: 'sftp' | 'rsync';
  /** Where its sshd is reached: behind a far link, for instance. */
  readonly port: number;
  /** Nobody answers there. */
  readonly dead?: boolean;
}

export const mirrorCount = 8;
const packagesInABatch = 20;
const packageBytes = 75_000;
/** Nothing here takes so long unless something is broken. */
const patienceMs = 600_000;

/** Forced commands for `startSshd`: rrsync with its tree for each of `names`, one account for all the rest. */
export function accounts(world: World, names: readonly string[]): Record<string, string | null> {
  const own = names.map((name) => [name, `rrsync -wo ${treeOf(world, name)}`] as const);
  return {
    builder: `rrsync -wo -munge -no-del ${world.directory}/srv/inbox/bench`,
    sftp: 'internal-sftp',
    plain: null,
    ...Object.fromEntries(own),
  };
}

export function treeOf(world: World, name: string): string {
  return join(world.directory, 'trees', name);
}

/** A mirror as it was before the next batch: names are replaced and never rewritten, so that links are as good as copies. */
export async function seed(world: World, name: string): Promise<void> {
  const tree = treeOf(world, name);
  await rm(tree, { recursive: true, force: true });
  await mkdir(tree, { recursive: true });
  await run(['cp', '-al', `${join(world.directory, 'srv/public')}/.`, tree]);
}

export async function configureFleet(world: World, sshd: Sshd, mirrors: readonly FleetMirror[]): Promise<string> {
  const entries = mirrors.map(({ name, kind, port }) => {
    const [path, account] = kind === 'sftp' ? [treeOf(world, name), 'sftp'] : ['/', name];
    return `  - name: ${name}
    transport: { type: ${kind}, host: 127.0.0.1, port: ${port}, user: ${sshd.user}, path: ${path}, identity: ${sshd.identity(account)}, host_key: "${sshd.hostKeyFingerprint}" }`;
  });
  const file = await configure(world, null, null, '');
  const base = await readFile(file, 'utf8');
  await writeFile(file, base.replace('mirrors: []', `mirrors:\n${entries.join('\n')}`));
  return file;
}

/** Makes the next batch of 20 upgraded packages below `directory`/batch; returns its repository. */
export async function nextBatch(
  world: World,
  generation: number,
): Promise<{ batch: string; repository: string; bytes: number }> {
  const repository = world.repositories[generation % world.repositories.length];
  if (!repository) throw new Error('no repository');
  for (let i = 0; i < packagesInABatch; i++) {
    const seedOf = generation * 1000 + i;
    repository.set({ name: `pkg-${i}`, version: `1.${generation}-r0`, contentBytes: packageBytes, seed: seedOf });
  }
  const batch = join(world.directory, 'batch');
  await rm(batch, { recursive: true, force: true });
  await mkdir(batch);
  await repository.write(batch);
  let bytes = 0;
  for (const file of await readdir(batch, { recursive: true, withFileTypes: true }))
    if (file.isFile()) bytes += (await stat(join(file.parentPath, file.name))).size;
  return { batch, repository: repository.path, bytes };
}

/**
 * Resolves when the daemon's state says that all of `names` hold `generation`: a mirror that held it when the daemon was
 * started is not pushed to, and no event of the log tells of it.
 */
export async function untilInStep(world: World, names: readonly string[], generation: number): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const held = confirmedOf(world);
    const late = names.filter((name) => (held.get(name) ?? 0) < generation);
    if (late.length === 0) return;
    if (performance.now() > deadline) throw new Error(`not in step with generation ${generation}: ${late.join(', ')}`);
    await sleep(50);
  }
}

function confirmedOf(world: World): ReadonlyMap<string, number> {
  using db = new DatabaseSync(stateOf(world).database, { readOnly: true, timeout: 5000 });
  const rows = db.prepare('SELECT name, confirmed FROM mirror').all();
  return new Map(rows.map(({ name, confirmed }) => [String(name), Number(confirmed ?? 0)]));
}

/** Resolves with the moment (Unix ms) at which the last of the trees has had its index replaced. */
export async function untilAllServe(world: World, names: readonly string[], repository: string): Promise<number> {
  const indexes = names.map((name) => join(treeOf(world, name), repository, 'APKINDEX.tar.gz'));
  const what = `the new index of ${repository} on every mirror`;
  return Math.max(...(await within(patienceMs, what, untilReplaced(indexes))));
}

export function sshCommand(sshd: Sshd, port: number, account = 'plain'): string {
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'IdentitiesOnly=yes'];
  const flags = [...options, 'ControlPath=none'].map((one) => `-o ${one}`).join(' ');
  return `ssh -c aes128-gcm@openssh.com -p ${port} -i ${sshd.identity(account)} ${flags}`;
}

/** `rsync -a --delete-delay --delay-updates` of the whole tree, into an account of the kind that our rsync mirrors have. */
export async function fullRsync(world: World, sshd: Sshd, name: string, port: number): Promise<void> {
  const target = `${sshd.user}@127.0.0.1:/`;
  await rsync(world, ['-a', '--delete-delay', '--delay-updates', '-e', sshCommand(sshd, port, name)], target);
}

/**
 * Debian's ftpsync as a mirror runs it when it is triggered: both stages, pulled over ssh, with its own options but for the names of
 * the indexes that it leaves for the second. The trigger itself, one more ssh connection, is left out.
 */
export async function ftpsync(world: World, sshd: Sshd, name: string, port: number): Promise<void> {
  const home = join(world.directory, 'ftpsync', name);
  const settings = {
    MIRRORNAME: name,
    TRACEHOST: name,
    MAILTO: 'root',
    TO: `${treeOf(world, name)}/`,
    RSYNC_SOURCE: `${sshd.user}@127.0.0.1:${join(world.directory, 'srv/public')}/`,
    RSYNC_OPTIONS1: '--exclude=APKINDEX.tar.gz --exclude=lockstep.json',
  };
  await mkdir(join(home, '.config/ftpsync'), { recursive: true });
  const lines = Object.entries(settings).map(([key, value]) => `${key}="${value}"\n`);
  await writeFile(join(home, '.config/ftpsync/ftpsync.conf'), lines.join(''));
  await run(['ftpsync', 'sync:all'], { HOME: home, RSYNC_RSH: sshCommand(sshd, port) });
}

async function rsync({ directory }: World, options: readonly string[], target: string): Promise<void> {
  await run(['rsync', ...options, `${join(directory, 'srv/public')}/`, target]);
}

/** lsyncd from `source` to all of the trees, null: with the delay that it has by itself; ready once `source` is watched and all are in step. */
export class Lsyncd implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(
    world: World,
    sshd: Sshd,
    names: readonly string[],
    source: string,
    delaySeconds: number | null,
  ): Promise<Lsyncd> {
    const delay = delaySeconds === null ? '' : `delay = ${delaySeconds}, `;
    const syncs = names.map(
      (name) =>
        `sync { default.rsync, source = "${source}", target = "${sshd.user}@127.0.0.1:${treeOf(world, name)}/", ${delay}rsync = { archive = true, rsh = "${sshCommand(sshd, sshd.port)}" } }`,
    );
    const file = join(world.directory, 'lsyncd.lua');
    const log = join(world.directory, 'lsyncd.log');
    await rm(log, { force: true });
    await writeFile(
      file,
      `settings { nodaemon = true, logfile = "${log}", maxProcesses = ${names.length} }\n${syncs.join('\n')}\n`,
    );
    const child = spawn('lsyncd', [file], { stdio: 'ignore', env: childEnvironment() });
    process.on('exit', () => void child.kill('SIGKILL'));
    const deadline = performance.now() + patienceMs;
    for (let done = 0; done < names.length; ) {
      if (child.exitCode !== null) throw new Error(`lsyncd ended with ${child.exitCode}`);
      if (performance.now() > deadline) throw new Error(`lsyncd has brought only ${done} mirrors in step`);
      await sleep(200);
      done = (await readFile(log, 'utf8').catch(() => '')).split('Startup of').length - 1;
    }
    return new Lsyncd(child);
  }

  /** Waits until its log has been silent for 3 s. */
  static async untilQuiet(log: string): Promise<void> {
    const deadline = performance.now() + patienceMs;
    for (let quiet = 0, before = -1; quiet < 6; ) {
      if (performance.now() > deadline) throw new Error('lsyncd does not come to rest');
      await sleep(500);
      const { size } = await stat(log);
      quiet = size === before ? quiet + 1 : 0;
      before = size;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => {
      this.#child.once('close', resolve);
    });
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 30_000);
    await ended;
    clearTimeout(timer);
  }
}

export async function run(argv: [string, ...string[]], environment: Record<string, string> = {}): Promise<void> {
  const { code, stderr } = await exec(argv, { env: childEnvironment(environment), timeoutMs: patienceMs });
  if (code !== 0) throw new Error(`${argv[0]} ended with ${code}: ${stderr}`);
}
