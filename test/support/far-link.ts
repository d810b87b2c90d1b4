/** A link to a host far away: a TCP proxy on loopback that delays all bytes and lets them through at a rate that all connections share; a thread of its own. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

export interface FarLink extends AsyncDisposable {
  /** The near end of the target that was named with this place in `targets`. */
  readonly ports: readonly number[];
}

export interface FarLinkOptions {
  /** Ports on loopback. */
  readonly targets: readonly number[];
  readonly roundTripMs: number;
  /** In each direction, of all connections together. */
  readonly bitsPerSecond: number;
}

/** Bytes of one connection and direction that are on their way at most: what TCP would have in flight. */
const window = 1024 * 1024;
const pieceBytes = 16 * 1024;

export async function startFarLink(options: FarLinkOptions): Promise<FarLink> {
  const worker = new Worker(new URL(import.meta.url), { workerData: options });
  const [ports] = (await once(worker, 'message')) as [number[]];
  return { ports, [Symbol.asyncDispose]: async () => void (await worker.terminate()) };
}

/** One direction: a token bucket that holds one piece, and a delay line behind it. */
class Lane {
  readonly #delayMs: number;
  readonly #bytesPerMs: number;
  readonly #line: { readonly atMs: number; readonly deliver: () => void }[] = [];
  #freeAtMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor({ roundTripMs, bitsPerSecond }: FarLinkOptions) {
    this.#delayMs = roundTripMs / 2;
    this.#bytesPerMs = bitsPerSecond / 8000;
  }

  send(bytes: number, deliver: () => void): void {
    const nowMs = performance.now();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + bytes / this.#bytesPerMs;
    this.#line.push({ atMs: this.#freeAtMs + this.#delayMs, deliver });
    this.#arm();
  }

  #arm(): void {
    const first = this.#line[0];
    if (!first || this.#timer) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        const nowMs = performance.now();
        for (let next = this.#line[0]; next && next.atMs <= nowMs; next = this.#line[0]) {
          this.#line.shift();
          next.deliver();
        }
        this.#arm();
      },
      Math.max(0, first.atMs - performance.now()),
    );
  }
}

function carry(from: Socket, to: Socket, lane: Lane): void {
  let onTheWay = 0;
  from.on('data', (chunk: Buffer) => {
    for (let start = 0; start < chunk.length; start += pieceBytes) {
      const piece = chunk.subarray(start, start + pieceBytes);
      onTheWay += piece.length;
      lane.send(piece.length, () => {
        onTheWay -= piece.length;
        if (onTheWay < window && from.isPaused()) from.resume();
        if (!to.destroyed) to.write(piece);
      });
    }
    if (onTheWay >= window) from.pause();
  });
  from.on('end', () => lane.send(0, () => to.end()));
  from.on('error', () => to.destroy());
}

async function serve(options: FarLinkOptions): Promise<number[]> {
  const [up, down] = [new Lane(options), new Lane(options)];
  return Promise.all(
    options.targets.map(async (target) => {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
        const far = connect({ host: '127.0.0.1', port: target, noDelay: true, allowHalfOpen: true });
        carry(near, far, up);
        carry(far, near, down);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('no port');
      return address.port;
    }),
  );
}

if (!isMainThread) {
  const ports = await serve(workerData as FarLinkOptions);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(ports);
}
