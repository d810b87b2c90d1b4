/** Makes the AES-GCM ciphers of an ssh2 client cheaper, packet by packet the same bytes on the wire; decides nothing about keys or algorithms. */
import { type CipherGCMTypes, createCipheriv, createSecretKey, type KeyObject, randomFillSync } from 'node:crypto';
import type { Client } from 'ssh2';

/** The outbound AES-GCM cipher of ssh2 1.17, as far as it is used here. */
interface GcmCipher {
  outSeqno: number;
  _dead: boolean;
  _encSSLName: string;
  _encKey: Buffer | KeyObject;
  _encIV: Buffer;
  _onWrite: (bytes: Buffer) => void;
  allocPacket: (payloadLength: number) => Buffer;
  encrypt: (packet: Buffer) => void;
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
 * and writes it in three pieces: several times the cost of the encryption itself, which is much of what a small push costs
 * us. The fields are private ones of ssh2 1.17: where they are not as expected, as after a new key exchange, all works as
 * before. Call it once the client is ready.
 */
export function easeCiphers(client: Client): void {
  const protocol = fieldOf(client, '_protocol');
  const decipher = fieldOf(protocol, '_decipher');
  const decipherKey = fieldOf(decipher, '_decipherKey');
  if (Buffer.isBuffer(decipherKey)) Reflect.set(decipher as object, '_decipherKey', createSecretKey(decipherKey));
  const cipher = fieldOf(protocol, '_cipher');
  if (isGcmCipher(cipher)) easeOutbound(cipher);
}

function easeOutbound(cipher: GcmCipher): void {
  const key = createSecretKey(cipher._encKey as Buffer);
  const algorithm = cipher._encSSLName as CipherGCMTypes;
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
    if (cipher._dead) return;
    const one = createCipheriv(algorithm, key, cipher._encIV);
    const head = packet.subarray(0, 4);
    one.setAAD(head);
    const body = one.update(packet.subarray(4));
    one.final();
    const tag = one.getAuthTag();
    if (body.length < reusedFrom) {
      cipher._onWrite(Buffer.concat([head, body, tag], 4 + body.length + tagLength));
    } else {
      cipher._onWrite(Buffer.from(head));
      cipher._onWrite(body);
      cipher._onWrite(tag);
    }
    nextIv(cipher._encIV);
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

function isGcmCipher(value: unknown): value is GcmCipher {
  const iv = fieldOf(value, '_encIV');
  return (
    /^aes-(?:128|256)-gcm$/.test(String(fieldOf(value, '_encSSLName'))) &&
    Buffer.isBuffer(fieldOf(value, '_encKey')) &&
    Buffer.isBuffer(iv) &&
    iv.length === 12 &&
    typeof fieldOf(value, '_dead') === 'boolean' &&
    typeof fieldOf(value, 'outSeqno') === 'number' &&
    ['_onWrite', 'allocPacket', 'encrypt'].every((name) => typeof fieldOf(value, name) === 'function')
  );
}

function fieldOf(holder: unknown, field: string): unknown {
  return typeof holder === 'object' && holder !== null ? Reflect.get(holder, field) : undefined;
}
