/** The signature algorithms that a policy may name, as apk's formats call them; decides nothing about keys. */

/**
 * RSA signs SHA-1, RSA256 SHA-256, RSA512 SHA-512 (what v3 always does with an RSA key); ECDSA is v3 with an EC key.
 * apk's label DSA is not among them: it says SHA-1, and apk never compares it with the kind of the key (p21).
 */
export const algorithmNames = ['RSA', 'RSA256', 'RSA512', 'ECDSA'] as const;
export type AlgorithmName = (typeof algorithmNames)[number];

export function isAlgorithmName(text: string): text is AlgorithmName {
  return algorithmNames.some((name) => name === text);
}
