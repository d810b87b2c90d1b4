/** An rsync at the other end of a sender of ours: the real one as a child, or a script of a test that says what it likes. */
import { spawn } from 'node:child_process';
import { Duplex, PassThrough, Transform } from 'node:stream';
import type { SshCommand } from '../../src/system/ssh.ts';
import { mirrorRsync } from './mirror-rsync.ts';

/** The arguments that the transport gives the rsync of a mirror. */
const serverArguments = ['--server', '-tpIRe.LsfxC', '--timeout=60', '--no-implied-dirs', '--remove-source-files', '.'];

export interface Tapped {
  readonly remote: SshCommand;
  /** What it has said on stdout so far, and what was said to it. */
  readonly heard: () => Buffer;
  readonly told: () => Buffer;
}

/** Starts `rsync ...serverArguments ...more root/.`, without some of them. */
export function startRsyncServer(root: string, more: readonly string[] = [], without: readonly string[] = []): Tapped {
  const [first, ...rest] = serverArguments.filter((one) => !without.includes(one)) as [string, ...string[]];
  const child = spawn(mirrorRsync, [first, ...more, ...rest, `${root}/.`], { stdio: 'pipe' });
  const closed = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  const [heard, told]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => heard.push(chunk));
  child.stdin.on('error', () => {});
  // A channel of SSH has copied what it has taken: a sender uses its memory again.
  const tap = new Transform({ transform: (chunk: Buffer, _encoding, done) => done(null, Buffer.from(chunk)) });
  tap.on('data', (chunk: Buffer) => told.push(chunk));
  tap.pipe(child.stdin);
  return {
    remote: {
      stream: Duplex.from({ writable: tap, readable: child.stdout.pipe(new PassThrough()) }),
      stderr: child.stderr,
      closed,
      end: () => void child.kill('SIGKILL'),
    },
    heard: () => Buffer.concat(heard),
    told: () => Buffer.concat(told),
  };
}

/** A command that says `chunks` and then nothing, or ends with `code`. What it is told is in `told`. */
export function sayServer(
  chunks: readonly Buffer[],
  code?: number,
  stderr = '',
): { remote: SshCommand; told: Buffer[]; say: (chunk: Buffer) => void } {
  const told: Buffer[] = [];
  const ended = Promise.withResolvers<number | null>();
  const stream = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => {
      told.push(Buffer.from(chunk));
      done();
    },
    autoDestroy: false,
  });
  const errors = new PassThrough();
  if (stderr !== '') errors.write(stderr);
  for (const chunk of chunks) stream.push(chunk);
  if (code !== undefined) {
    stream.push(null);
    stream.once('end', () => setImmediate(() => ended.resolve(code)));
  }
  return {
    told,
    say: (chunk) => void stream.push(chunk),
    remote: {
      stream,
      stderr: errors,
      closed: ended.promise,
      end: () => {
        stream.destroy();
        ended.resolve(null);
      },
    },
  };
}
