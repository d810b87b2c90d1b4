/** Decides which public keys are worth trusting at all, and names a key by its kind, its size and its digests. */
import { createPublicKey, hash, type KeyObject } from 'node:crypto';

export interface PublicKeyFacts {
  readonly type: 'RSA' | 'ECDSA';
  readonly bits: number;
  /** Lower-case hex SHA-256 of the DER SubjectPublicKeyInfo: `openssl pkey -pubin -in KEY -outform DER | sha256sum`. */
  readonly fingerprint: string;
  /** Lower-case hex of the 16 bytes by which v3 signatures name the key (apk-formats, 3.3). */
  readonly keyId: string;
}

const minimumRsaBits = 2048;
const curveBits: Readonly<Record<string, number>> = { prime256v1: 256, secp384r1: 384, secp521r1: 521 };

/**
 * The key of a PEM text in one normal form. Throws an Error that says why a key is not usable: not PEM, a private key, RSA
 * under 2048 bits, or a kind that apk cannot use.
 */
export function readPublicKey(text: string): string {
  // createPublicKey would also take a private key and derive the public one; a private key does not belong here.
  if (!/^-----BEGIN PUBLIC KEY-----/m.test(text)) throw new Error('expected a line "-----BEGIN PUBLIC KEY-----"');
  const key = createPublicKey(text);
  const fault = faultOf(key);
  if (fault !== null) throw new Error(fault);
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** What there is to say of a key that `readPublicKey` has given out. */
export function publicKeyFacts(pem: string): PublicKeyFacts {
  const key = createPublicKey(pem);
  const fingerprint = fingerprintOf(key);
  const point = key.asymmetricKeyType === 'ec' ? key.export({ format: 'jwk' }) : undefined;
  const raw =
    point === undefined
      ? key.export({ type: 'pkcs1', format: 'der' })
      : Buffer.concat([Buffer.of(4), Buffer.from(point.x ?? '', 'base64url'), Buffer.from(point.y ?? '', 'base64url')]);
  return {
    type: point === undefined ? 'RSA' : 'ECDSA',
    bits:
      point === undefined
        ? (key.asymmetricKeyDetails?.modulusLength ?? 0)
        : (curveBits[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? 0),
    fingerprint,
    keyId: hash('sha512', raw, 'hex').slice(0, 32),
  };
}

/** Two files hold the same key if this is the same. */
export function keyFingerprint(pem: string): string {
  return fingerprintOf(createPublicKey(pem));
}

function fingerprintOf(key: KeyObject): string {
  return hash('sha256', key.export({ type: 'spki', format: 'der' }), 'hex');
}

/** Why a key must not be trusted, null for one that may be. */
function faultOf(key: KeyObject): string | null {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  const kind = key.asymmetricKeyType ?? 'unknown';
  if (kind === 'rsa') {
    if (modulusLength < minimumRsaBits)
      return `an RSA key of ${modulusLength} bits, expected at least ${minimumRsaBits}: shorter ones can be broken`;
    // With the exponent 1 anybody can write a signature.
    return publicExponent < 3n ? `an RSA key with the public exponent ${publicExponent}, expected 65537` : null;
  }
  if (kind === 'ec') {
    const known = Object.hasOwn(curveBits, namedCurve);
    return known ? null : `an EC key on the curve ${namedCurve}, expected P-256, P-384 or P-521`;
  }
  return `${refusedKinds[kind] ?? `a key of the kind ${kind}`}, expected RSA or EC`;
}

/** Kinds that somebody may well try, and why they are no good (apk-formats, 1.2 and 3.3). */
const refusedKinds: Readonly<Record<string, string>> = {
  ed25519: 'an ed25519 key, which apk cannot load',
  dsa: 'a DSA key, which apk uses with SHA-1 only',
};
