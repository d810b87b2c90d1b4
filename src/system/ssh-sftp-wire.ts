/** SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL): packets to bytes and back. It neither reads nor sends. */

/** Packet types, section 3. */
export const packet = {
  init: 1,
  version: 2,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attrs: 105,
  extended: 200,
  extendedReply: 201,
} as const;

/** Status codes, section 7. */
export const status = {
  ok: 0,
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  unsupported: 8,
} as const;

/** Open flags, section 6.3. */
export const openFlag = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 } as const;

const attribute = { size: 1, owner: 2, permissions: 4, times: 8, extended: 0x80000000 } as const;

/** Longest packet that is accepted: OpenSSH's own limit of 256 KiB, and a little. */
const maxPacketLength = 256 * 1024 + 1024;

/** The answer of the other side to one request, other than success. */
export class SftpStatusError extends Error {
  readonly status: number;
  /** The request and the path or handle that it was about. */
  readonly request: string;

  constructor(code: number, message: string, request: string) {
    super(`${request}: ${message === '' ? `status ${code}` : message}`);
    this.name = 'SftpStatusError';
    this.status = code;
    this.request = request;
  }
}

/** Attributes of a file, section 5; sizes in bytes, times in whole seconds since the epoch. */
export interface SftpAttributes {
  readonly size?: number;
  readonly permissions?: number;
  readonly atimeSeconds?: number;
  readonly mtimeSeconds?: number;
}

/** A 32-bit field. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** A 64-bit field from a whole number below 2^53. */
export function uint64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** A string field: length, then bytes. */
export function text(value: string | Buffer): Buffer {
  const length = Buffer.byteLength(value);
  const bytes = Buffer.allocUnsafe(4 + length);
  bytes.writeUInt32BE(length);
  if (typeof value === 'string') bytes.write(value, 4);
  else value.copy(bytes, 4);
  return bytes;
}

/** An ATTRS field. */
export function attributes({ size, permissions, mtimeSeconds, atimeSeconds }: SftpAttributes): Buffer {
  const bytes = Buffer.allocUnsafe(24);
  let flags = 0;
  let end = 4;
  if (size !== undefined) {
    flags |= attribute.size;
    end = bytes.writeBigUInt64BE(BigInt(size), end);
  }
  if (permissions !== undefined) {
    flags |= attribute.permissions;
    end = bytes.writeUInt32BE(permissions >>> 0, end);
  }
  if (mtimeSeconds !== undefined) {
    flags |= attribute.times;
    end = bytes.writeUInt32BE((atimeSeconds ?? mtimeSeconds) >>> 0, end);
    end = bytes.writeUInt32BE(mtimeSeconds >>> 0, end);
  }
  bytes.writeUInt32BE(flags);
  return bytes.subarray(0, end);
}

/** A whole packet: length, type, fields. */
export function encodePacket(type: number, ...fields: readonly Buffer[]): Buffer {
  const length = 1 + fields.reduce((sum, field) => sum + field.length, 0);
  const bytes = Buffer.allocUnsafe(4 + length);
  bytes.writeUInt32BE(length);
  let end = bytes.writeUInt8(type, 4);
  for (const field of fields) end += field.copy(bytes, end);
  return bytes;
}

/** Bytes of room in front of the data of a write: length, type, id, handle (at most 256 bytes), offset, length of the data. */
export const writeHead = 4 + 1 + 4 + (4 + 256) + 8 + 4;

/** Memory for the data of one WRITE packet with room for the packet's head in front, so that file bytes are never copied. */
export interface WriteBlock {
  readonly memory: Buffer;
  /** To be filled before the block is sent. */
  readonly data: Buffer;
}

/** A block for `length` bytes of data; `memory` may be that of an earlier block that is no longer in use. */
export function createWriteBlock(
  length: number,
  memory: Buffer = Buffer.allocUnsafeSlow(writeHead + length),
): WriteBlock {
  return { memory, data: memory.subarray(writeHead, writeHead + length) };
}

/** The WRITE packet around the block's data. Throws RangeError for a handle of more than 256 bytes. */
export function encodeWrite(id: number, handle: Buffer, offset: number, block: WriteBlock): Buffer {
  const { data, memory } = block;
  if (handle.length > 256) throw new RangeError('SFTP handle longer than 256 bytes');
  const start = writeHead - (4 + 1 + 4 + 4 + handle.length + 8 + 4);
  let at = memory.writeUInt32BE(writeHead - start - 4 + data.length, start);
  at = memory.writeUInt8(packet.write, at);
  at = memory.writeUInt32BE(id, at);
  at = memory.writeUInt32BE(handle.length, at);
  at += handle.copy(memory, at);
  at = memory.writeUInt32BE(Math.floor(offset / 2 ** 32), at);
  at = memory.writeUInt32BE(offset % 2 ** 32, at);
  memory.writeUInt32BE(data.length, at);
  return memory.subarray(start, writeHead + data.length);
}

/** Reads the fields of one packet in order. Every method throws RangeError when the packet is too short. */
export class FieldReader {
  readonly #bytes: Buffer;
  #position = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#position;
  }

  uint32(): number {
    const value = this.#bytes.readUInt32BE(this.#position);
    this.#position += 4;
    return value;
  }

  uint64(): number {
    const value = this.#bytes.readBigUInt64BE(this.#position);
    this.#position += 8;
    return Number(value);
  }

  bytes(): Buffer {
    const length = this.uint32();
    if (length > this.left) throw new RangeError('SFTP field longer than its packet');
    const start = this.#position;
    this.#position += length;
    return this.#bytes.subarray(start, this.#position);
  }

  text(): string {
    return this.bytes().toString('utf8');
  }

  attributes(): SftpAttributes {
    const flags = this.uint32();
    const size = flags & attribute.size ? { size: this.uint64() } : {};
    if (flags & attribute.owner) {
      this.uint32();
      this.uint32();
    }
    const permissions = flags & attribute.permissions ? { permissions: this.uint32() } : {};
    const times = flags & attribute.times ? { atimeSeconds: this.uint32(), mtimeSeconds: this.uint32() } : {};
    for (let count = flags & attribute.extended ? this.uint32() : 0; count > 0; count--) {
      this.bytes();
      this.bytes();
    }
    return { ...size, ...permissions, ...times };
  }
}

/** Cuts a stream of bytes into packets. */
export class PacketSplitter {
  #rest: Buffer[] = [];
  #held = 0;
  #wanted = 4;

  /** The packets (without their length field) that `chunk` completes. Throws RangeError when one is empty or too long. */
  push(chunk: Buffer): Buffer[] {
    this.#rest.push(chunk);
    this.#held += chunk.length;
    const packets: Buffer[] = [];
    while (this.#held >= this.#wanted) {
      const all = this.#rest.length === 1 ? (this.#rest[0] ?? chunk) : Buffer.concat(this.#rest);
      const length = all.readUInt32BE(0);
      if (length === 0 || length > maxPacketLength) throw new RangeError(`SFTP packet of ${length} bytes`);
      this.#wanted = 4 + length;
      const whole = all.length >= this.#wanted;
      const rest = whole ? all.subarray(this.#wanted) : all;
      if (whole) packets.push(all.subarray(4, this.#wanted));
      this.#rest = rest.length > 0 ? [rest] : [];
      this.#held = rest.length;
      if (whole) this.#wanted = 4;
    }
    return packets;
  }
}
