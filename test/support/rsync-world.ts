/** A source and a mirror's root, and sends from one to the other by a real rsync. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { type SendResult, type SendRun, sendFiles } from '../../src/replicate/rsync-sender.ts';
import type { PushFile } from '../../src/replicate/transport.ts';
import { systemClock } from '../../src/system/clock.ts';
import { startRsyncServer } from './rsync-server.ts';

export interface World {
  readonly source: string;
  readonly root: string;
  add(path: string, content: string | Buffer): PushFile;
  send(
    waves: readonly (readonly PushFile[])[],
    options?: Partial<SendRun> & { readonly arguments?: readonly string[] },
  ): Promise<SendResult & { readonly sent: number }>;
}

/** An empty root at the other end and an empty source. */
export function makeWorld(t: TestContext): World {
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-sender-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const [source, root] = [join(base, 'source'), join(base, 'root')];
  mkdirSync(source);
  mkdirSync(root);
  return {
    source,
    root,
    add: (path, content) => {
      mkdirSync(dirname(join(source, path)), { recursive: true });
      writeFileSync(join(source, path), content);
      return { path, size: Buffer.byteLength(content), mtimeSeconds: 1_700_000_000 };
    },
    send: async (waves, { arguments: more = [], ...options } = {}) => {
      let sent = 0;
      const result = await sendFiles({
        // One that nobody talks to would hold the test up for its minute of patience.
        remote: options.remote ?? startRsyncServer(root, more).remote,
        sourceRoot: source,
        waves,
        hashed: true,
        lastTwice: false,
        confirms: true,
        clock: systemClock,
        signal: new AbortController().signal,
        timeoutMs: 60_000,
        ...options,
        onBytes: (bytes) => {
          sent += bytes;
          options.onBytes?.(bytes);
        },
      });
      return { ...result, sent };
    },
  };
}

const good = { code: 0, remoteCode: 0, said: '', remoteStderr: '' };

export function assertGood(result: SendResult): void {
  const { code, remoteCode, said, remoteStderr } = result;
  assert.deepEqual({ code, remoteCode, said, remoteStderr }, good);
}
