/** Chooses the one signature that counts, as apk does, and checks it. */
import { createPublicKey, createVerify, type KeyObject, type Verify } from 'node:crypto';
import type { Signature, SignatureAlgorithm } from '../apk/signature.ts';
import { FormatError } from '../errors.ts';
import { algorithmNames } from './algorithms.ts';
import type { Keyring } from './keyring.ts';

const digests: Record<Exclude<SignatureAlgorithm, 'DSA'>, string> = {
  RSA: 'RSA-SHA1',
  RSA256: 'RSA-SHA256',
  RSA512: 'RSA-SHA512',
};

/** A running check: give it the signed bytes, then ask. */
export interface SignatureCheck {
  readonly keyName: string;
  update(bytes: Buffer): void;
  /** True when the signature is right for the bytes given; to be asked once. */
  isRight(): boolean;
}

/**
 * The check of the first signature whose key is in the keyring; later ones do not count, even if the first turns out wrong
 * (p24): it is the one that clients look at. So a refused key or algorithm in the first is not made good by a second one.
 * `undefined` when no key is in it. Throws SIG_ALGORITHM when the algorithm is not accepted or the key is of another kind
 * than the label says (p21), SIG_UNTRUSTED or OUT_OF_SCOPE when the key does not count here.
 */
export function beginSignatureCheck(signatures: readonly Signature[], keyring: Keyring): SignatureCheck | undefined {
  for (const { algorithm, keyName, value } of signatures) {
    const trusted = keyring.keys.find((key) => key.name === keyName);
    if (trusted === undefined) continue;
    if (trusted.refusal !== undefined) throw new FormatError(trusted.refusal.code, trusted.refusal.detail);
    const accepted = keyring.algorithms ?? algorithmNames;
    if (algorithm === 'DSA' || !accepted.includes(algorithm)) {
      throw new FormatError(
        'SIG_ALGORITHM',
        `the signature by ${keyName} is ${algorithm}, accepted are ${accepted.join(', ')}`,
      );
    }
    const key = publicKey(trusted.pem);
    if (key.asymmetricKeyType !== 'rsa') {
      throw new FormatError(
        'SIG_ALGORITHM',
        `the signature says ${algorithm}, the key ${keyName} is ${key.asymmetricKeyType}`,
      );
    }
    const verify: Verify = createVerify(digests[algorithm]);
    return { keyName, update: (bytes) => void verify.update(bytes), isRight: () => verify.verify(key, value) };
  }
  return undefined;
}

const parsed = new Map<string, KeyObject>();

/** The key in `pem`, remembered: parsing a key costs more than using it, and a repository has few. */
export function publicKey(pem: string): KeyObject {
  const known = parsed.get(pem);
  if (known !== undefined) return known;
  if (parsed.size >= 64) parsed.clear();
  const key = createPublicKey(pem);
  parsed.set(pem, key);
  return key;
}
