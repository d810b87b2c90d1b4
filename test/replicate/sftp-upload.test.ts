/** What an upload over several sessions asks of which of them, and when. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Spread } from '../../src/replicate/sftp-spread.ts';
import { uploadFiles } from '../../src/replicate/sftp-upload.ts';
import type { Wave } from '../../src/replicate/transport.ts';
import { systemClock } from '../../src/system/clock.ts';
import type { SftpSession } from '../../src/system/ssh-sftp.ts';

interface Asked {
  readonly session: string;
  readonly request: string;
  readonly answer: () => void;
}

/** Sessions whose requests are answered by the test. */
class Far {
  readonly all: Asked[] = [];
  #open: Asked[] = [];

  session(name: string): SftpSession {
    const ask = <T>(request: string, value: T): Promise<T> =>
      new Promise((resolve) => {
        const asked = { session: name, request, answer: () => resolve(value) };
        this.all.push(asked);
        this.#open.push(asked);
      });
    const base = (path: string): string => /^\/\.?([a-z])/.exec(path)?.[1] ?? path;
    return {
      ended: false,
      extensions: new Map([['fsync@openssh.com', '1']]),
      maxWriteBytes: 32_768,
      open: (path: string) => ask(`open ${base(path)}`, Buffer.from(base(path))),
      write: (handle: Buffer, _offset: number, _block: unknown, taken: () => void) => {
        taken();
        return ask(`write ${String(handle)}`, undefined);
      },
      setHandleAttributes: (handle: Buffer) => ask(`set ${String(handle)}`, undefined),
      sync: (handle: Buffer) => ask(`sync ${String(handle)}`, undefined),
      close: (handle: Buffer) => ask(`close ${String(handle)}`, undefined),
      rename: (_from: string, to: string) => ask(`rename ${base(to)}`, undefined),
    } as unknown as SftpSession;
  }

  /** Answers what is asked, again and again, but for what `keeps` names. */
  async answer(keeps: (one: Asked) => boolean): Promise<void> {
    for (let quiet = 0; quiet < 20; quiet++) {
      const ready = this.#open.filter((one) => !keeps(one));
      this.#open = this.#open.filter(keeps);
      for (const one of ready) one.answer();
      if (ready.length > 0) quiet = 0;
      await turn();
    }
  }

  /** Of requests of this kind, which session was asked. */
  of(kind: string): string[] {
    return this.all.filter(({ request }) => request.startsWith(kind)).map((one) => `${one.session}: ${one.request}`);
  }
}

async function start(waves: readonly (readonly string[])[]): Promise<{ far: Far; upload: Promise<void> }> {
  const sourceRoot = mkdtempSync(join(tmpdir(), 'lockstepd-upload-'));
  const asWave = (names: readonly string[]): Wave =>
    names.map((path) => {
      writeFileSync(join(sourceRoot, path), path);
      return { path, size: 1, mtimeSeconds: 1 };
    });
  const far = new Far();
  const [session, ...others] = ['first', 'second', 'third'].map((name) => far.session(name)) as [SftpSession];
  const signal = new AbortController().signal;
  const upload = uploadFiles({
    session,
    others,
    root: '/',
    sourceRoot,
    waves: waves.map(asWave),
    fsync: true,
    // It stands still: a read that takes its time would go to a thread, for which nothing here waits.
    clock: { ...systemClock, monotonic: () => 0 },
    signal,
    onBytes: () => {},
  }).finally(() => rmSync(sourceRoot, { recursive: true }));
  return { far, upload };
}

test('each session syncs its part, one makes all names, and syncs behind them', async () => {
  const { far, upload } = await start([['a', 'b', 'c', 'd', 'e'], ['f']]);
  await far.answer(() => false);
  await upload;
  assert.deepEqual(far.of('sync').toSorted(), [
    'first: sync a',
    'first: sync d',
    'first: sync f',
    'first: sync f',
    'second: sync b',
    'second: sync e',
    'third: sync c',
  ]);
  assert.deepEqual(
    far.of('rename').map((one) => one.split(':')[0]),
    Array.from({ length: 6 }, () => 'first'),
  );
  assert.equal(far.of('rename').at(-1), 'first: rename f');
});

test('no file gets its name before its session has said that it is synced, and no index before every package has its own', async () => {
  const { far, upload } = await start([['a', 'b', 'c'], ['d']]);
  await far.answer(({ request }) => request === 'sync b');
  assert.deepEqual(far.of('rename').toSorted(), ['first: rename a', 'first: rename c']);
  await far.answer(({ request }) => request === 'rename b');
  assert.deepEqual(far.of('rename').at(-1), 'first: rename b');
  assert.equal(far.of('rename').length, 3);
  await far.answer(() => false);
  await upload;
  assert.equal(far.of('rename').at(-1), 'first: rename d');
});

test('a last file of another session is synced again when the last rename is done, not before', async () => {
  const { far, upload } = await start([['a', 'b', 'c']]);
  await far.answer(({ request }) => request === 'sync b');
  await far.answer(({ request }) => request === 'rename b');
  assert.equal(far.of('rename').at(-1), 'first: rename b');
  assert.equal(far.of('sync b').length, 1);
  await far.answer(() => false);
  await upload;
  assert.deepEqual(far.of('sync b'), ['second: sync b', 'second: sync b']);
});

test('a file goes to the session that has the fewest in hand, and to none that has ended', () => {
  const [one, two, three] = [{ ended: false }, { ended: false }, { ended: false }];
  const spread = new Spread<{ ended: boolean }>(one, [two, three]);
  assert.deepEqual([spread.takeFirst(), spread.take(), spread.take()], [one, two, three]);
  spread.give(two);
  assert.equal(spread.take(), two);
  three.ended = true;
  assert.deepEqual([spread.take(), spread.take(), spread.take()], [one, two, one]);
});
