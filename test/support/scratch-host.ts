/** A host to try operators' commands on: this machine's own system below an overlay, with its own network, processes and names; needs root. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { findProgram } from './sshd.ts';
import { removeAtEnd } from './remove-at-end.ts';

const repository = resolve(import.meta.dirname, '../..');

/** What is written stays in memory, and is gone with the process. The checkout lies in /usr/lib/lockstepd, read-only. */
const setUp = `set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
for directory in run tmp srv mnt root; do mount -t tmpfs -o mode=0755 tmpfs "$1/root/$directory"; done
chmod 1777 "$1/root/tmp"
mkdir -p "$1/root/usr/lib/lockstepd" "$1/root/run/sshd"
mount --bind "$2" "$1/root/usr/lib/lockstepd"
mount -o remount,bind,ro "$1/root/usr/lib/lockstepd"
rm -rf "$1/root/etc/lockstepd" "$1/root/var/lib/lockstepd"
ip link set lo up
hostname primary.example.org
# Ready only when its root is the overlay: what is written before lands in this machine's own system. It ends with whoever
# started it, and takes the ended children of others off the list of processes.
exec chroot "$1/root" sh -c 'echo ready; cat > /dev/null; :'
`;

/** As the package installs it. */
const program = `#!/bin/sh
NODE_COMPILE_CACHE=/tmp/compile-cache MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 exec /usr/lib/lockstepd/node_modules/node/bin/node \\
  --max-semi-space-size=1 --max-old-space-size=48 /usr/lib/lockstepd/src/main.ts "$@"
`;

/** No systemd runs there: this does what is asked for, with what the unit says, and refuses what is not there. */
const systemctl = `#!/bin/bash
set -eu
unit=/usr/lib/systemd/system/lockstepd.service
start() {
  command=$(sed -n 's/^ExecStart=//p' $unit)
  account=$(sed -n 's/^User=//p' $unit)
  setsid setpriv --reuid "$account" --regid "$account" --init-groups $command >> /var/log/lockstepd.log 2>&1 < /dev/null &
  echo $! > /run/lockstepd.pid
  for i in $(seq 1200); do
    [ -S /var/lib/lockstepd/lockstepd.sock ] && return
    kill -0 "$(cat /run/lockstepd.pid)" || break
    sleep 0.1
  done
  tail -n 5 /var/log/lockstepd.log >&2
  exit 1
}
stop() {
  pid=$(cat /run/lockstepd.pid)
  kill "$pid" 2> /dev/null || true
  while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
  rm -f /var/lib/lockstepd/lockstepd.sock
}
# These fork before they listen, and a reload is only a signal: systemd would know when they are ready.
until_true() {
  for i in $(seq 1200); do
    if "$@"; then return; fi
    sleep 0.05
  done
  echo "systemctl: never came: $*" >&2
  exit 1
}
listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
worker() { pgrep -n -P "$(cat /run/nginx.pid)"; }
is_new() { [ "$(worker)" != "$1" ]; }
case $* in
  daemon-reload) ;;
  "enable --now lockstepd" | "start lockstepd") start ;;
  "stop lockstepd") stop ;;
  "restart lockstepd") stop; start ;;
  "reload lockstepd") kill -HUP "$(cat /run/lockstepd.pid)" ;;
  "restart ssh nginx") /usr/sbin/sshd; nginx; until_true [ -s /run/sshd.pid ] ;;
  "reload ssh") pid=$(cat /run/sshd.pid); rm /run/sshd.pid; kill -HUP "$pid"; until_true [ -s /run/sshd.pid ] ;;
  "reload nginx") before=$(worker); nginx -s reload; until_true is_new "$before" ;;
  "enable --now rsync") rsync --daemon; until_true listens 873 ;;
  "enable --now lockstep-pull.timer") [ -f /etc/systemd/system/lockstep-pull.timer ] ;;
  *) echo "systemctl: no such case: $*" >&2; exit 1 ;;
esac
`;

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A host that commands are tried on. */
export interface Host {
  /** Runs shell as root in its home. */
  run(script: string): Promise<Ran>;
  /** Where a path of that host is for this process. */
  path(path: string): string;
  write(path: string, text: string): void;
}

export class ScratchHost implements Host {
  readonly #child: ChildProcess;
  readonly #pid: number;

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.#pid = pid;
  }

  /** Ends with the test. Null, with the test skipped, where it cannot be had. */
  static async create(t: TestContext, ...programs: readonly string[]): Promise<ScratchHost | null> {
    if (process.getuid?.() !== 0) return skip(t, 'a scratch host needs root');
    const needed = [
      'unshare',
      'nsenter',
      'ip',
      'setpriv',
      'pgrep',
      'sshd',
      'ssh-keyscan',
      'rsync',
      'rrsync',
      'nginx',
      'curl',
    ];
    const missing = [...needed, ...programs].find((name) => findProgram(name) === undefined);
    if (missing !== undefined) return skip(t, `${missing} absent`);
    const directory = mkdtempSync(join(tmpdir(), 'lockstepd-host-'));
    removeAtEnd(t, directory);
    const flags = ['--mount', '--net', '--pid', '--fork', '--uts', '--kill-child'];
    const child = spawn('unshare', [...flags, 'sh', '-c', setUp, 'sh', directory, repository]);
    // unshare holds back TERM; its child goes with it.
    t.after(() => ended(child));
    const problem = await untilReady(child);
    if (problem !== null) return skip(t, `no scratch host here: ${problem}`);
    const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim());
    const host = new ScratchHost(child, pid);
    host.write('/usr/bin/lockstepd', program, 0o755);
    host.write('/usr/local/bin/systemctl', systemctl, 0o755);
    host.write('/etc/hosts', '127.0.0.1 localhost primary.example.org mirror.example.net oslo.example.net\n');
    cpSync(join(repository, 'systemd/lockstepd.service'), host.path('/usr/lib/systemd/system/lockstepd.service'));
    return host;
  }

  path(path: string): string {
    return `/proc/${this.#pid}/root${path}`;
  }

  write(path: string, text: string, mode = 0o644): void {
    writeFileSync(this.path(path), text, { mode });
  }

  /** What it leaves running must not keep our pipes. */
  async run(script: string): Promise<Ran> {
    if (this.#child.exitCode !== null) throw new Error('the scratch host has ended');
    const shell = [
      'timeout',
      '--signal=KILL',
      '600',
      'bash',
      '--norc',
      '-euc',
      `exec < /dev/null; cd /root; ${script}`,
    ];
    const argv = ['-t', `${this.#pid}`, '-m', '-n', '-u', '-p', '-r', '-w', ...shell];
    const env = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/root',
      LC_ALL: 'C.UTF-8',
    };
    return new Promise((done) => {
      const child = execFile('nsenter', argv, { env }, (_, out, err) => done({ code: child.exitCode, out, err }));
      child.stdin?.end();
    });
  }
}

function skip(t: TestContext, why: string): null {
  t.skip(why);
  return null;
}

function untilReady(child: ChildProcess): Promise<string | null> {
  return new Promise((done) => {
    let [out, err] = ['', ''];
    child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('ready')) done(null);
    });
    child.once('close', () => done(err.trim() || 'it ended at once'));
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((done) => child.once('close', done));
  child.kill('SIGKILL');
  await closed;
}
