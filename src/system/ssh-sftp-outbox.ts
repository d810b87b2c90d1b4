/** Decides which requests of an SFTP session leave together: small ones of one turn of the event loop do. */
import type { Writable } from 'node:stream';

/** Bytes for the channel, and who wants to know that it has taken them. */
interface Outgoing {
  readonly bytes: Buffer;
  readonly onTaken: (() => void) | undefined;
}

/** Small packets are joined up to this many bytes before they are handed to the channel. */
const joinLimit = 16 * 1024;
/** So many bytes leave at once, without waiting for the turn of the event loop to end: the other side works while we go on. */
const flushLimit = 64 * 1024;

export class SftpOutbox {
  readonly #channel: Writable;
  readonly #together: (write: () => void) => void;
  #packets: Outgoing[] = [];
  #bytes = 0;
  #closed = false;

  /** `together` runs a function so that what it writes leaves in as few system calls as possible. */
  constructor(channel: Writable, together: (write: () => void) => void) {
    this.#channel = channel;
    this.#together = together;
  }

  push(one: Outgoing): void {
    if (this.#packets.length === 0) process.nextTick(() => this.#flush());
    this.#packets.push(one);
    this.#bytes += one.bytes.length;
    if (this.#bytes >= flushLimit) this.#flush();
  }

  /** Nothing leaves any more. */
  close(): void {
    this.#closed = true;
  }

  #flush(): void {
    const packets = this.#packets;
    if (packets.length === 0) return;
    this.#packets = [];
    this.#bytes = 0;
    if (this.#closed) return;
    this.#together(() => {
      for (const group of planGroups(packets)) this.#hand(group);
    });
  }

  #hand(group: readonly Outgoing[]): void {
    const channel = this.#channel;
    const [first] = group;
    if (group.length === 1 && first?.onTaken) {
      channel.write(first.bytes, first.onTaken);
      // Within the window the channel has encrypted it by now, and need not be waited for.
      if (channel.writableLength === 0) first.onTaken();
      return;
    }
    channel.write(group.length === 1 ? first?.bytes : Buffer.concat(group.map(({ bytes }) => bytes)));
    for (const { onTaken } of group) onTaken?.();
  }
}

/** Neighbours that are joined before they are handed over. */
function planGroups(packets: readonly Outgoing[]): Outgoing[][] {
  const groups: Outgoing[][] = [];
  let bytes = joinLimit;
  for (const one of packets) {
    bytes += one.bytes.length;
    if (bytes <= joinLimit) {
      groups.at(-1)?.push(one);
    } else {
      groups.push([one]);
      bytes = one.bytes.length;
    }
  }
  return groups;
}
