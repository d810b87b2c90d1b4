/** A TCP proxy on loopback that can be made to cut, to hang or to trickle: what bad links do to a connection. */
import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What becomes of the bytes on their way to the server. */
export type LinkMode =
  | { readonly kind: 'pass' }
  /** Both ends are closed once so many bytes have gone to the server. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** Nothing goes on, in either direction, once so many bytes have gone to the server. */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  /** After so many bytes, this many at a time, each `everyMs` later. */
  | { readonly kind: 'trickle'; readonly afterBytes: number; readonly bytes: number; readonly everyMs: number };

export interface Proxy extends AsyncDisposable {
  readonly port: number;
  /** For connections that are made from now on, each with its own count; those that stand are closed. */
  set(mode: LinkMode): void;
  /** Resolves when the mode has struck a connection since it was set. */
  untilHeld(): Promise<void>;
}

/** Passes connections on to `target` on loopback. With `null` there is no target: connections are taken, and nobody speaks. */
export async function startProxy(target: number | null): Promise<Proxy> {
  const sockets = new Set<Socket>();
  let mode: LinkMode = { kind: 'pass' };
  let held = Promise.withResolvers<void>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const server = createServer((near) => {
    keep(near);
    if (target === null) return;
    const far = keep(connect({ host: '127.0.0.1', port: target, noDelay: true }));
    near.setNoDelay(true);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    splice(near, far, mode, held.resolve).catch(() => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: address.port,
    set: (next) => {
      mode = next;
      held = Promise.withResolvers();
      drop();
    },
    untilHeld: () => held.promise,
    [Symbol.asyncDispose]: async () => {
      drop();
      server.close();
      await once(server, 'close');
    },
  };
}

async function splice(near: Socket, far: Socket, mode: LinkMode, onHeld: () => void): Promise<void> {
  far.pipe(near);
  let left = mode.kind === 'pass' ? Number.POSITIVE_INFINITY : mode.afterBytes;
  for await (const chunk of near as AsyncIterable<Buffer>) {
    const now = chunk.subarray(0, left);
    left -= now.length;
    if (now.length > 0 && !far.write(now)) await once(far, 'drain');
    if (now.length === chunk.length) continue;
    onHeld();
    if (mode.kind === 'trickle') await trickle(far, chunk.subarray(now.length), mode);
    else if (mode.kind === 'cut') far.destroy();
    // Read on, and thrown away: a socket that nobody reads does not tell that the other end has gone.
    else far.unpipe(near).resume();
    if (mode.kind === 'stall') await once(near, 'close');
  }
  far.end();
}

async function trickle(far: Socket, rest: Buffer, { bytes, everyMs }: LinkMode & { kind: 'trickle' }): Promise<void> {
  for (let at = 0; at < rest.length; at += bytes) {
    await sleep(everyMs);
    if (far.destroyed) return;
    far.write(rest.subarray(at, at + bytes));
  }
}
