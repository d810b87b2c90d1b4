/** Makes the AES-GCM ciphers of an ssh2 client cheaper, packet by packet the same bytes on the wire; decides nothing about keys or algorithms. */
import { type CipherGCMTypes, createCipheriv, createSecretKey, randomFillSync } from 'node:crypto';
import type { Outlet } from './outlet.ts';

/** The outbound cipher of ssh2 1.17, as far as it is changed here. */
interface Cipher {
  outSeqno: number;
  allocPacket: (payloadLength: number) => Buffer;
  encrypt: (packet: Buffer) => void;
}

/** The private fields of its AES-GCM cipher. */
interface GcmFields {
  readonly algorithm: CipherGCMTypes;
  readonly key: Buffer;
  /** Shared with the cipher and counted up in place. */
  readonly iv: Buffer;
  readonly write: (bytes: Buffer) => void;
}

/** The random bytes of padding are fetched so many at a time. */
const paddingStock = 4096;
/** Shorter packets come from Node's own pool of small buffers. */
const reusedFrom = 2048;
/** A channel's packet of 32 KiB, and its head and padding. */
const longestReused = 33 * 1024;
const tagLength = 16;

/**
 * ssh2 makes an AES-GCM cipher for every packet, hands Node the key as bytes, asks the kernel for padding, allocates the packet
 * and writes it in three pieces that lie about until the next collection: several times the cost of the encryption itself,
 * which is much of what a small push costs us. The fields are private ones of ssh2 1.17: where they are not as expected, as
 * after a new key exchange, all works as before. Call it once the client is ready.
 */
export function easeCiphers(client: object, outlet: Pick<Outlet, 'together' | 'spend'>): void {
  const protocol = fieldOf(client, '_protocol');
  const decipher = fieldOf(protocol, '_decipher');
  const decipherKey = fieldOf(decipher, '_decipherKey');
  if (Buffer.isBuffer(decipherKey)) Reflect.set(decipher as object, '_decipherKey', createSecretKey(decipherKey));
  const cipher = fieldOf(protocol, '_cipher');
  const fields = gcmFieldsOf(cipher);
  if (fields) easeOutbound(cipher as Cipher, fields, outlet);
}

function easeOutbound(
  cipher: Cipher,
  { algorithm, key: keyBytes, iv, write }: GcmFields,
  outlet: Pick<Outlet, 'together' | 'spend'>,
): void {
  const key = createSecretKey(keyBytes);
  const padding = Buffer.allocUnsafeSlow(paddingStock);
  let paddingUsed = paddingStock;
  // ssh2 fills a packet and has it encrypted in one go, so the plain text can lie in the same memory each time.
  const reused = Buffer.allocUnsafeSlow(longestReused);

  cipher.allocPacket = (payloadLength) => {
    // RFC 4253 section 6 and RFC 5647 section 7.2: without the length field a multiple of 16, at least 4 bytes of padding.
    let padLength = 16 - ((1 + payloadLength) & 15);
    if (padLength < 4) padLength += 16;
    const length = 1 + payloadLength + padLength;
    const isReused = payloadLength >= reusedFrom && 4 + length <= longestReused;
    const packet = isReused ? reused.subarray(0, 4 + length) : Buffer.allocUnsafe(4 + length);
    packet.writeUInt32BE(length, 0);
    packet[4] = padLength;
    if (paddingUsed + padLength > paddingStock) {
      randomFillSync(padding);
      paddingUsed = 0;
    }
    padding.copy(packet, 5 + payloadLength, paddingUsed, paddingUsed + padLength);
    paddingUsed += padLength;
    return packet;
  };

  cipher.encrypt = (packet) => {
    if (fieldOf(cipher, '_dead') === true) return;
    const one = createCipheriv(algorithm, key, iv);
    const head = packet.subarray(0, 4);
    one.setAAD(head);
    const body = one.update(packet.subarray(4));
    one.final();
    const tag = one.getAuthTag();
    if (body.length < reusedFrom) {
      write(Buffer.concat([head, body, tag], 4 + body.length + tagLength));
    } else {
      outlet.together(() => {
        write(Buffer.from(head));
        write(body);
        write(tag);
        outlet.spend(body);
      });
    }
    nextIv(iv);
    cipher.outSeqno = (cipher.outSeqno + 1) >>> 0;
  };
}

/** The invocation counter, the last 8 bytes, plus one (RFC 5647 section 7.1). */
function nextIv(iv: Buffer): void {
  for (let at = 11; at >= 4; at--) {
    const next = ((iv[at] ?? 0) + 1) & 0xff;
    iv[at] = next;
    if (next !== 0) return;
  }
}

/** Undefined for another cipher, or another ssh2. */
function gcmFieldsOf(cipher: unknown): GcmFields | undefined {
  const [algorithm, key, iv] = ['_encSSLName', '_encKey', '_encIV'].map((name) => fieldOf(cipher, name));
  const write = fieldOf(cipher, '_onWrite');
  if (algorithm !== 'aes-128-gcm' && algorithm !== 'aes-256-gcm') return undefined;
  if (!Buffer.isBuffer(key) || !Buffer.isBuffer(iv) || iv.length !== 12 || typeof write !== 'function')
    return undefined;
  if (typeof fieldOf(cipher, '_dead') !== 'boolean' || typeof fieldOf(cipher, 'outSeqno') !== 'number')
    return undefined;
  if (!['allocPacket', 'encrypt'].every((name) => typeof fieldOf(cipher, name) === 'function')) return undefined;
  return { algorithm, key, iv, write: (bytes) => void Reflect.apply(write, cipher, [bytes]) };
}

function fieldOf(holder: unknown, field: string): unknown {
  return typeof holder === 'object' && holder !== null ? Reflect.get(holder, field) : undefined;
}
