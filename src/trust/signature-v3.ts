/** Finds the trusted key behind the signatures of a v3 file: any one valid signature suffices, invalid ones are passed over. */
import { type KeyObject, verify } from 'node:crypto';
import type { AdbSignature } from '../apk/adb-signature.ts';
import { FormatError } from '../errors.ts';
import { type AlgorithmName, algorithmNames } from './algorithms.ts';
import type { Keyring, TrustedKey } from './keyring.ts';
import { publicKeyFacts } from './public-key.ts';
import { publicKey } from './signature.ts';

export interface AdbSigner {
  /** The name of the trusted key whose signature is right, null when there is none. */
  readonly keyName: string | null;
  /** True when a signature claims to be by a trusted key, right or not. */
  readonly claimed: boolean;
  /** Why a right signature does not count: its key or its algorithm is refused here. */
  readonly refusal: FormatError | null;
}

/**
 * Looks at the signatures in their order and stops at the first that is right and counts. Clients are content with any one:
 * so a refused one before it does no harm, unlike in v2.
 */
export function findSigner(signatures: readonly AdbSignature[], keyring: Keyring): AdbSigner {
  let claimed = false;
  let refusal: FormatError | null = null;
  for (const { keyId, message, value } of signatures) {
    for (const trusted of keyring.keys) {
      if (keyIdOf(trusted.pem) !== keyId) continue;
      claimed = true;
      const key = publicKey(trusted.pem);
      if (!isRight(key, message, value)) continue;
      const why = refusalOf(trusted, key, keyring);
      if (why === null) return { keyName: trusted.name, claimed, refusal: null };
      refusal ??= why;
    }
  }
  return { keyName: null, claimed, refusal };
}

function refusalOf(trusted: TrustedKey, key: KeyObject, keyring: Keyring): FormatError | null {
  if (trusted.refusal !== undefined) return new FormatError(trusted.refusal.code, trusted.refusal.detail);
  const accepted = keyring.algorithms ?? algorithmNames;
  const algorithm: AlgorithmName = key.asymmetricKeyType === 'ec' ? 'ECDSA' : 'RSA512';
  if (accepted.includes(algorithm)) return null;
  return new FormatError(
    'SIG_ALGORITHM',
    `the signature by ${trusted.name} is ${algorithm}, accepted are ${accepted.join(', ')}`,
  );
}

/** RSA is PKCS#1 v1.5, ECDSA comes as DER; clients load no other keys. */
function isRight(key: KeyObject, message: Buffer, value: Buffer): boolean {
  if (key.asymmetricKeyType !== 'rsa' && key.asymmetricKeyType !== 'ec') return false;
  return verify('sha512', message, key, value);
}

const ids = new Map<string, string>();

function keyIdOf(pem: string): string {
  const known = ids.get(pem);
  if (known !== undefined) return known;
  if (ids.size >= 64) ids.clear();
  const { keyId } = publicKeyFacts(pem);
  ids.set(pem, keyId);
  return keyId;
}
