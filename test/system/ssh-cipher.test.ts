import assert from 'node:assert/strict';
import { createDecipheriv, randomBytes } from 'node:crypto';
import test from 'node:test';
import { easeCiphers } from '../../src/system/ssh-cipher.ts';

/** As ssh2 1.17 names its fields. */
function cipherLike(more: Readonly<Record<string, unknown>> = {}) {
  const written: Buffer[] = [];
  const unchanged = (): never => assert.fail('the cipher of ssh2 was called');
  const fields = {
    _dead: false,
    _encSSLName: 'aes-128-gcm',
    _encKey: randomBytes(16),
    // The counter is about to carry over.
    _encIV: Buffer.from('aabbccdd00000000000000ff', 'hex'),
    _onWrite: (bytes: Buffer) => void written.push(bytes),
    outSeqno: 0xffffffff,
    allocPacket: unchanged as (length: number) => Buffer,
    encrypt: unchanged as (packet: Buffer) => void,
    ...more,
  };
  const groups: string[] = [];
  const spent: Buffer[] = [];
  const outlet = {
    together: (write: () => void) => {
      const from = written.length;
      write();
      groups.push(`${from} to ${written.length}`);
    },
    spend: (bytes: Buffer) => void spent.push(bytes),
  };
  easeCiphers({ ['_protocol']: { ['_cipher']: fields, ['_decipher']: {} } }, outlet);
  return { cipher: fields, written, unchanged, groups, spent };
}

/** What the other side makes of the bytes: the payloads. Throws for a wrong tag. */
function decrypt(bytes: Buffer, key: Buffer, firstIv: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  let counter = firstIv.readBigUInt64BE(4);
  for (let at = 0; at < bytes.length; counter++) {
    const iv = Buffer.from(firstIv);
    iv.writeBigUInt64BE(counter, 4);
    const length = bytes.readUInt32BE(at);
    assert.equal(length % 16, 0);
    const one = createDecipheriv('aes-128-gcm', key, iv).setAAD(bytes.subarray(at, at + 4));
    const plain = one.update(bytes.subarray(at + 4, at + 4 + length));
    one.setAuthTag(bytes.subarray(at + 4 + length, at + 20 + length)).final();
    const padding = plain[0] ?? 0;
    assert.ok(padding >= 4 && padding <= 19, `${padding} bytes of padding`);
    payloads.push(plain.subarray(1, plain.length - padding));
    at += 20 + length;
  }
  return payloads;
}

test('packets of every length are read by the other side, though their memory is used again', () => {
  const { cipher, written } = cipherLike();
  const { _encKey: key, _encIV: iv } = cipher;
  const firstIv = Buffer.from(iv);
  const lengths = [...Array.from({ length: 40 }, (_, n) => n + 1), 2047, 2048, 2049, 32_777, 33_770, 33_792, 40_000];
  const sent = lengths.map((length) => {
    const payload = randomBytes(length);
    const packet = cipher.allocPacket(length);
    payload.copy(packet, 5);
    cipher.encrypt(packet);
    return payload;
  });
  // Looked at only now: nothing that was written may lie in memory that is used again.
  assert.deepEqual(decrypt(Buffer.concat(written), key, firstIv), sent);
  assert.equal(cipher.outSeqno, lengths.length - 1);
});

test('another cipher, or another ssh2, is left as it is', () => {
  for (const more of [
    { _encSSLName: 'aes-128-ctr' },
    { _encSSLName: undefined },
    { _encKey: 'key' },
    { _encIV: Buffer.alloc(16) },
    { _onWrite: undefined },
    { _dead: undefined },
    { outSeqno: '1' },
  ]) {
    const { cipher, unchanged } = cipherLike(more);
    assert.equal(cipher.encrypt, unchanged);
    assert.equal(cipher.allocPacket, unchanged);
  }
  assert.doesNotThrow(() => easeCiphers({}, { together: () => {}, spend: () => {} }));
});

test('the pieces of a long packet leave together, and its memory is free then; a short packet is one', () => {
  const { cipher, written, groups, spent } = cipherLike();
  cipher.encrypt(cipher.allocPacket(100));
  assert.deepEqual([written.length, groups, spent], [1, [], []]);
  cipher.encrypt(cipher.allocPacket(30_000));
  assert.deepEqual([written.length, groups], [4, ['1 to 4']]);
  assert.deepEqual(spent, [written[2]]);
  assert.equal(written[2]?.buffer.byteLength, written[2]?.length, 'memory of its own');
});

test('nothing is written once the cipher is dead', () => {
  const { cipher, written } = cipherLike();
  Reflect.set(cipher, '_dead', true);
  cipher.encrypt(cipher.allocPacket(10));
  assert.equal(written.length, 0);
});
