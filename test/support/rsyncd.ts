/** A private rsync daemon on loopback with one module, configured by the snippet that we ship. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { hasEnded, kept } from './child.ts';
import { findProgram, freePort, untilAnswers } from './sshd.ts';

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
  const [first, ...args] = [...kept, program, '--daemon', '--no-detach', `--config=${config}`];
  const child = spawn(first, args, { stdio: 'ignore' });
  const exited = new Promise((done) => child.once('exit', done));
  try {
    await untilAnswers(port, 'rsync --daemon', () => hasEnded(child));
  } catch (error) {
    child.kill();
    throw new Error(await readFile(join(home, 'log'), 'utf8').catch(() => 'rsync --daemon wrote no log'), {
      cause: error,
    });
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
