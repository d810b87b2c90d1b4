/** A private rsync daemon on loopback with one module, configured by the snippet that we ship. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram, freePort } from './sshd.ts';

const snippet = resolve(import.meta.dirname, '../../config/rsyncd/rsyncd.conf');

export interface Rsyncd extends AsyncDisposable {
  /** `rsync://…/repository/` */
  readonly url: string;
}

/** Serves `path` as the module `repository`; `more` is added to it. */
export async function startRsyncd(path: string, more: readonly string[] = []): Promise<Rsyncd> {
  const program = findProgram('rsync');
  if (program === undefined) throw new Error('rsync is not installed');
  const home = await mkdtemp(join(tmpdir(), 'lockstepd-rsyncd-'));
  const port = await freePort();
  const lines = (await readFile(snippet, 'utf8')).replace(/^ {4}path = .*$/m, `    path = ${path}`).split('\n');
  // Only root may change its root and its user; the link is then our own, which rsync follows.
  const root = userInfo().uid === 0;
  const usable = lines.map((line) => (root ? line : line.replace(/^ {4}(?:uid|gid) = .*|use chroot = yes$/, '')));
  const unrooted = root ? [] : ['    use chroot = no'];
  const head = [`port = ${port}`, 'address = 127.0.0.1', `log file = ${join(home, 'log')}`, 'reverse lookup = no'];
  const config = join(home, 'rsyncd.conf');
  await writeFile(config, [...head, ...usable, ...unrooted, ...more.map((line) => `    ${line}`), ''].join('\n'));
  const child = spawn(program, ['--daemon', '--no-detach', `--config=${config}`], { stdio: 'ignore' });
  const exited = new Promise((done) => child.once('exit', done));
  for (let tries = 0; !(await answers(port)); tries++) {
    if (tries === 500 || child.exitCode !== null) throw new Error(await readFile(join(home, 'log'), 'utf8'));
    await sleep(10);
  }
  return {
    url: `rsync://127.0.0.1:${port}/repository/`,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await exited;
      await rm(home, { recursive: true, force: true });
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}
