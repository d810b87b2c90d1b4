/** A Debian in a directory: made by debootstrap, entered without systemd, and booted with its own systemd in namespaces. Needs root. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, readFileSync, readdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exec, type ExecResult } from '../../src/system/exec.ts';
import { missingProgram } from '../support/sshd.ts';
import { plainEnvironment as env, runs } from './run.ts';

/** Why no Debian can be made and booted here; null when it can. */
export function whyNoDebian(): string | null {
  if (process.getuid?.() !== 0) return 'it needs root';
  const missing = missingProgram('debootstrap', 'unshare', 'nsenter', 'pivot_root', 'ip', 'dpkg-deb');
  if (missing !== undefined) return `${missing} absent`;
  return unifiedHierarchy() === undefined ? 'no cgroup2 is mounted' : null;
}

function unifiedHierarchy(): string | undefined {
  return /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
}

/** Makes a minimal Debian in `root`: the release of this machine, with its updates, from where this machine has them. */
export async function makeDebian(root: string): Promise<void> {
  const told = await runs(['apt-get', 'indextargets', '--format', '$(REPO_URI) $(CODENAME)', 'Created-By: Packages']);
  const sources = [...new Set(told.trim().split('\n'))];
  const [mirror, release] = sources.find((line) => /^\S+ [a-z]+$/.test(line))?.split(' ') ?? [];
  if (mirror === undefined || release === undefined) throw new Error(`apt knows no Debian: ${told}`);
  await runs(['debootstrap', '--variant=minbase', release, root, mirror], { timeoutMs: 600_000 });
  const ours = sources.filter((line) => line.split(' ')[1]?.startsWith(release));
  writeFileSync(join(root, 'etc/apt/sources.list'), ours.map((line) => `deb ${line} main\n`).join(''));
  await enter(root, ['apt-get', '-q', 'update'], { timeoutMs: 300_000 });
}

/** Runs a program in the Debian while no systemd runs there; what it starts ends with it, and no service is started. */
export async function enter(
  root: string,
  argv: readonly [string, ...string[]],
  options: { timeoutMs?: number; code?: number } = {},
): Promise<string> {
  const policy = join(root, 'usr/sbin/policy-rc.d');
  writeFileSync(policy, '#!/bin/sh\nexit 101\n');
  chmodSync(policy, 0o755);
  try {
    const proc = `--mount-proc=${join(root, 'proc')}`;
    return await runs(
      ['unshare', '--mount', '--pid', '--fork', '--kill-child', proc, 'chroot', root, ...argv],
      options,
    );
  } finally {
    rmSync(policy);
  }
}

/** The Debian with its systemd. */
export class Container implements AsyncDisposable {
  readonly #starter: ChildProcess;
  readonly #cgroup: string;
  readonly #pid: number;

  private constructor(starter: ChildProcess, cgroup: string, pid: number) {
    this.#starter = starter;
    this.#cgroup = cgroup;
    this.#pid = pid;
  }

  /** Resolves when systemd has started what is enabled. */
  static async boot(root: string): Promise<Container> {
    const cgroup = join(unifiedHierarchy() ?? '', `lockstepd-try-${process.pid}`);
    const starter = spawn(resolve(import.meta.dirname, 'boot.sh'), [root, cgroup], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const pid = await firstChild(starter);
    const container = new Container(starter, cgroup, pid);
    try {
      for (let state = ''; !['running', 'degraded'].includes(state); await sleep(200)) {
        if (starter.exitCode !== null) throw new Error(`boot.sh ended with ${starter.exitCode}`);
        state = (await container.tries('systemctl', 'is-system-running')).stdout.trim();
      }
      return container;
    } catch (error) {
      await container[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a program inside; throws when it fails. Returns its stdout. */
  run(...argv: readonly [string, ...string[]]): Promise<string> {
    return runs([...this.#enter(), ...argv], { timeoutMs: 300_000 });
  }

  /** Runs a shell script inside; throws when it fails. */
  shell(script: string): Promise<string> {
    return this.run('sh', '-euc', script);
  }

  /** Runs a program inside that may fail. */
  tries(...argv: readonly [string, ...string[]]): Promise<ExecResult> {
    return exec([...this.#enter(), ...argv], { timeoutMs: 120_000, env });
  }

  #enter(): [string, ...string[]] {
    return ['nsenter', '-t', String(this.#pid), '--mount', '--pid', '--net', '--uts', '--ipc', '--cgroup', '--'];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#starter.kill('SIGKILL');
    for (let tries = 0; tries < 50 && !removed(this.#cgroup); tries++) await sleep(100);
  }
}

/** `unshare` forks the first process of its namespaces, which becomes systemd. */
async function firstChild(starter: ChildProcess): Promise<number> {
  for (let tries = 0; tries < 100; tries++, await sleep(50)) {
    if (starter.exitCode !== null) break;
    const children = readFileSync(`/proc/${starter.pid}/task/${starter.pid}/children`, 'utf8').trim();
    const name = (pid: string): string => readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    if (children !== '' && name(children) === 'systemd') return Number(children);
  }
  throw new Error('systemd does not start in namespaces here');
}

/** Groups go from the innermost, once their processes are gone; true when none is left. */
function removed(cgroup: string): boolean {
  try {
    for (const name of readdirSync(cgroup)) {
      if (statSync(join(cgroup, name)).isDirectory()) removed(join(cgroup, name));
    }
    rmdirSync(cgroup);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ENOENT';
  }
}
