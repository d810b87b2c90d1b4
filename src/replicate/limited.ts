/** Gives a transport its share: each call takes a slot, and the bytes of a put go at the rates of the mirror and of all together. */
import { Mutex } from '../system/limit.ts';
import type { Throttle } from '../system/throttle.ts';
import type { Slots } from './slots.ts';
import { checkWith } from './tidy.ts';
import type { Pace, Transport, TransportOptions } from './transport.ts';

/**
 * `throttles` one after the other, the mirror's own first. Bytes of one mirror wait one piece at a time: however many files
 * it has in flight, it gets no more of the common rate than the next one.
 */
export function limitTransport(transport: Transport, slots: Slots, throttles: readonly Throttle[]): Transport {
  const turns = new Mutex();
  const paced = (): Required<Pick<TransportOptions, 'pace' | 'waitedMs'>> => {
    let waitedMs = 0;
    const pace: Pace = (bytes, { signal, onWait }) => {
      const onTurn = (ms: number): void => {
        waitedMs += ms;
        onWait();
      };
      return turns.run(async () => {
        signal.throwIfAborted();
        for (const throttle of throttles)
          if (throttle.isLimited) await throttle.take(bytes, { signal, onWait: onTurn });
      });
    };
    return { pace, waitedMs: () => waitedMs };
  };
  const inSlot = <T>(options: TransportOptions, call: (options: TransportOptions) => Promise<T>): Promise<T> =>
    slots.run(options.signal, (alive) =>
      call({
        ...options,
        onBytes: (bytes) => {
          alive();
          options.onBytes?.(bytes);
        },
      }),
    );
  const { read, readsBeside, readIsDear } = transport;
  return {
    ...(readsBeside && { readsBeside }),
    ...(readIsDear && { readIsDear }),
    // Beside a put, whose slot it would wait for; else in a slot of its own.
    ...(read && {
      read: (path, maxBytes, options) =>
        readsBeside ? read(path, maxBytes, options) : inSlot(options, (given) => read(path, maxBytes, given)),
    }),
    list: (directory, options) => inSlot(options, (given) => transport.list(directory, given)),
    put: (sourceRoot, waves, options) =>
      inSlot(options, (given) => {
        const isLimited = throttles.some((throttle) => throttle.isLimited);
        return transport.put(sourceRoot, waves, isLimited ? { ...given, ...paced() } : given);
      }),
    remove: (paths, options) => inSlot(options, (given) => transport.remove(paths, given)),
    // In no slot: mirrors that were lost and are asked for a sign of life keep nothing from the others.
    check: (options) => checkWith(transport, options),
    close: () => transport.close(),
  };
}
