/** Finds the trusted key behind the signatures of a v3 file: any one valid signature suffices, invalid ones are passed over. */
import { hash, type KeyObject, verify } from 'node:crypto';
import type { AdbSignature } from '../apk/adb-signature.ts';
import type { Keyring } from './keyring.ts';
import { publicKey } from './signature.ts';

export interface AdbSigner {
  /** The name of the trusted key whose signature is right, null when there is none. */
  readonly keyName: string | null;
  /** True when a signature claims to be by a trusted key, right or not. */
  readonly claimed: boolean;
}

/** Looks at the signatures in their order and stops at the first that is right. */
export function findSigner(signatures: readonly AdbSignature[], keyring: Keyring): AdbSigner {
  let claimed = false;
  for (const { keyId, message, value } of signatures) {
    for (const { name, pem } of keyring.keys) {
      const key = publicKey(pem);
      if (keyIdOf(key, pem) !== keyId) continue;
      claimed = true;
      if (isRight(key, message, value)) return { keyName: name, claimed };
    }
  }
  return { keyName: null, claimed };
}

/** RSA is PKCS#1 v1.5, ECDSA comes as DER; clients load no other keys. */
function isRight(key: KeyObject, message: Buffer, value: Buffer): boolean {
  if (key.asymmetricKeyType !== 'rsa' && key.asymmetricKeyType !== 'ec') return false;
  return verify('sha512', message, key, value);
}

const ids = new Map<string, string>();

/** First 16 bytes of SHA-512 over the raw public key, in hex. */
function keyIdOf(key: KeyObject, pem: string): string {
  const known = ids.get(pem);
  if (known !== undefined) return known;
  if (ids.size >= 64) ids.clear();
  const id = computeKeyId(key);
  ids.set(pem, id);
  return id;
}

/** As apk computes it: over the content of the BIT STRING in the SubjectPublicKeyInfo. */
function computeKeyId(key: KeyObject): string {
  const der = key.export({ type: 'spki', format: 'der' });
  const outer = element(der, 0);
  const algorithm = element(der, outer.start);
  const bits = element(der, algorithm.end);
  // The first byte says how many bits of the last one do not count: none.
  return hash('sha512', der.subarray(bits.start + 1, bits.end), 'buffer').toString('hex', 0, 16);
}

/** Where the content of a DER element begins and ends. */
function element(der: Buffer, at: number): { readonly start: number; readonly end: number } {
  const short = der.readUInt8(at + 1);
  if (short < 0x80) return { start: at + 2, end: at + 2 + short };
  const width = short & 0x7f;
  const start = at + 2 + width;
  return { start, end: start + der.readUIntBE(at + 2, width) };
}
