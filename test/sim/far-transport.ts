/** Reaches a simulated mirror through the port of the real transports: latency, rate, and all that can be wrong with a mirror. */
import { TransportError } from '../../src/errors.ts';
import { deadlineFor, withStallWatch } from '../../src/replicate/stall.ts';
import {
  bytesOf,
  type Pace,
  type PushFile,
  type Transport,
  type TransportOptions,
} from '../../src/replicate/transport.ts';
import type { Clock } from '../../src/system/clock.ts';
import type { Dice } from './dice.ts';
import type { FarMirror } from './far-mirror.ts';
import type { SimPrimary, Stored } from './primary.ts';

export interface FarDeps {
  readonly primary: SimPrimary;
  /** That of the process that calls: it stands still for ever once the process is dead. */
  readonly clock: Clock;
  readonly dice: Dice;
  /** A call has begun, in a slot or beside one; to be called at its end. `alive` at each sign of life. */
  readonly onCall: (inSlot: boolean) => { readonly alive: () => void; readonly end: () => void };
  readonly onSent: (bytes: number) => void;
}

const stallMs = 60_000;
const pieceBytes = 64 * 1024;
/** Time on the wire that is too short to be an event of its own is added up to this. */
const grainMs = 100;
const slowDown = 40;

export function farTransport(mirror: FarMirror, deps: FarDeps): Transport {
  const { kind, rttMs, bytesPerSecond } = mirror.traits;
  const { primary, clock, dice } = deps;

  async function call<T>(
    options: TransportOptions,
    { bytes = 0, inSlot = true }: { readonly bytes?: number; readonly inSlot?: boolean },
    work: (link: Link) => Promise<T>,
  ): Promise<T> {
    const watch = { clock, stallMs, deadlineMs: deadlineFor(bytes), signal: options.signal, onStall: () => {} };
    const { alive: onAlive, end } = deps.onCall(inSlot);
    try {
      return await withStallWatch(watch, async (signal, living) => {
        const alive = (count: number): void => {
          living();
          onAlive();
          options.onBytes?.(count);
        };
        const link = new Link(mirror, { clock, dice, signal, alive, onSent: deps.onSent, pace: options.pace ?? null });
        await link.connect(bytes > 0);
        return work(link);
      });
    } finally {
      end();
    }
  }

  /** What is known to be there by size and time is not sent. */
  const isThere = (file: PushFile): boolean => {
    if (kind === 'sftp') return false;
    const there = mirror.get(file.path);
    return there?.size === file.size && there.mtimeSeconds === file.mtimeSeconds;
  };

  return {
    list: (directory, options) =>
      call(options, {}, async (link) => {
        // A comparison begins; whoever only looks for what a push has left behind learns nothing of what is gone.
        const compares = directory !== '.' && primary.store.mirrors.get(mirror.name).confirmed === null;
        if (compares) mirror.isTampered = false;
        const found = new Map(mirror.directories.get(directory));
        await link.pause(rttMs);
        return found;
      }),
    put: (root, waves, options) =>
      call(options, { bytes: bytesOf(waves) }, async (link) => {
        const filled = waves.filter((wave) => wave.length > 0);
        for (const [n, wave] of filled.entries()) {
          const appear: [string, Stored][] = [];
          const isLast = n === filled.length - 1;
          if (isLast && kind !== 'sftp') await options.gate;
          for (const file of dice.shuffled(wave)) {
            if (isThere(file)) continue;
            const content = primary.contentOf(root, file.path);
            await link.send(file, bytesPerSecond);
            if (kind === 'sftp') appear.push([file.path, content]);
            else mirror.rename(file.path, content);
          }
          if (isLast && kind === 'sftp') await options.gate;
          // Only over sftp does something happen between the answer to the last wave and the end.
          if (!isLast || kind === 'sftp') await link.pause(rttMs);
          for (const [path, content] of appear) {
            if (dice.chance(0.05)) await link.pause(rttMs / 10);
            mirror.rename(path, content);
          }
        }
        await link.pause(rttMs);
      }),
    remove: (paths, options) =>
      call(options, { bytes: 1 }, async (link) => {
        for (const path of paths) {
          if (dice.chance(0.05)) await link.pause(rttMs / 10);
          mirror.remove(path);
        }
        await link.pause(rttMs);
      }),
    check: (options) => call(options, { inSlot: false }, () => Promise.resolve()),
    ...(kind === 'sftp' && { readsBeside: true }),
    ...(kind === 'rsync' && { readIsDear: true }),
    ...(kind !== 'blind' && {
      read: (path, maxBytes, options) =>
        call(options, { inSlot: kind !== 'sftp' }, async (link) => {
          await link.pause(rttMs);
          const text = mirror.get(path)?.text;
          return text === undefined || text.length > maxBytes ? null : Buffer.from(text);
        }),
    }),
    close: () => Promise.resolve(),
  };
}

interface LinkDeps {
  readonly clock: Clock;
  readonly dice: Dice;
  readonly signal: AbortSignal;
  readonly alive: (bytes: number) => void;
  readonly onSent: (bytes: number) => void;
  readonly pace: Pace | null;
}

/** The way to the mirror during one call. */
class Link {
  readonly #mirror: FarMirror;
  readonly #deps: LinkDeps;
  #owedMs = 0;

  constructor(mirror: FarMirror, deps: LinkDeps) {
    this.#mirror = mirror;
    this.#deps = deps;
  }

  async connect(writes: boolean): Promise<void> {
    const { kind, rttMs } = this.#mirror.traits;
    const { fault } = this.#mirror;
    if (fault === 'dns') throw new TransportError('dns', 'retryable', 'no such name');
    if (fault === 'down') {
      await this.#deps.clock.sleep(rttMs);
      throw new TransportError('refused', 'retryable', 'nobody listens');
    }
    await this.pause(rttMs);
    if (this.#mirror.fault === 'auth') throw new TransportError('auth', 'permanent', 'the key is not accepted');
    if (this.#mirror.fault === 'host key') throw new TransportError('host_key', 'security', 'another host key');
    if (this.#mirror.fault === 'busy' && kind === 'rsync') throw new TransportError('busy', 'busy', 'the lock is held');
    if (this.#mirror.fault === 'read-only' && writes)
      throw new TransportError('read_only', 'permanent', 'read-only file system');
  }

  /** Time passes on the wire; meanwhile the mirror may have broken. With `options` the end of the call is seen at once, and not after the wait. */
  async pause(ms: number, options?: { readonly signal: AbortSignal }): Promise<void> {
    await this.#deps.clock.sleep(ms, options);
    this.#deps.signal.throwIfAborted();
    const { fault } = this.#mirror;
    if (fault === 'black hole') await new Promise<never>(() => {});
    const cut = fault === 'down' || (fault === 'flaky' && this.#deps.dice.chance(0.25));
    if (cut) throw new TransportError('closed', 'retryable', 'the connection was cut');
  }

  async send({ path, size }: PushFile, bytesPerSecond: number): Promise<void> {
    const { alive, dice, onSent, pace, signal } = this.#deps;
    for (let left = size; left > 0; left -= pieceBytes) {
      const piece = Math.min(left, pieceBytes);
      await pace?.(piece, { signal, onWait: () => alive(0) });
      onSent(piece);
    }
    this.#owedMs += (size / bytesPerSecond) * 1000 * (this.#mirror.fault === 'slow' ? slowDown : 1);
    try {
      for (; this.#owedMs >= grainMs; this.#owedMs -= Math.min(this.#owedMs, 1000)) {
        // What is half there then stays there.
        await this.pause(Math.min(this.#owedMs, 1000), { signal });
        alive(size);
      }
      alive(size);
      if (this.#mirror.fault === 'disk full' && dice.chance(0.3))
        throw new TransportError('disk_full', 'retryable', 'no space left');
    } catch (error) {
      const left = { id: 'part', size: Math.floor(size / 2), mtimeSeconds: 0 };
      const suffix = dice.whole(0x100000, 0xffffff).toString(16);
      if (dice.chance(0.5))
        this.#mirror.rename(
          path.replace(/[^/]+$/, (name) => `.${name}.lockstepd-${suffix}`),
          left,
        );
      throw error;
    }
  }
}
