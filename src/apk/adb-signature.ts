/** Reads SIG blocks: which key claims to have signed a v3 file, and over which bytes. Whether it is right is decided in trust. */
import { hash } from 'node:crypto';
import type { AdbSchema } from './adb-blocks.ts';

export interface AdbSignature {
  /** Hex of the first 16 bytes of SHA-512 over the raw public key. */
  readonly keyId: string;
  /** What was signed, with SHA-512 as the digest of the signature whatever the key. */
  readonly message: Buffer;
  readonly value: Buffer;
}

const headerBytes = 18;

const digests = ['sha256', 'sha512', 'sha256-160'] as const;
type AdbDigest = (typeof digests)[number];

/** By the number in the block; SHA-1 (2) is not allowed here. */
const algorithms: Readonly<Record<number, AdbDigest>> = { 3: 'sha256', 4: 'sha512', 5: 'sha256-160' };

/** An ADB payload and its digests, each computed once however often it is asked for. */
export class AdbPayload {
  readonly bytes: Buffer;
  readonly #digests = new Map<AdbDigest, Buffer>();

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  digest(algorithm: AdbDigest): Buffer {
    if (algorithm === 'sha256-160') return this.digest('sha256').subarray(0, 20);
    const known = this.#digests.get(algorithm);
    if (known !== undefined) return known;
    const digest = hash(algorithm, this.bytes, 'buffer');
    this.#digests.set(algorithm, digest);
    return digest;
  }

  /** The identity that `like`, an identity of an index entry, would have if it were this payload's. */
  identityLike(like: string): string | undefined {
    const algorithm = digests.find((name) => like.startsWith(`${name}:`));
    return algorithm === undefined ? undefined : `${algorithm}:${this.digest(algorithm).toString('hex')}`;
  }
}

/** The signature in the payload of a SIG block; `undefined` for one that clients pass over: another version or digest, cut off. */
export function readAdbSignature(block: Buffer, schema: AdbSchema, payload: AdbPayload): AdbSignature | undefined {
  const algorithm = block.length > headerBytes && block[0] === 0 ? algorithms[block[1] ?? 0] : undefined;
  if (algorithm === undefined) return undefined;
  const header = block.subarray(0, headerBytes);
  return {
    keyId: header.toString('hex', 2),
    message: Buffer.concat([Buffer.from(schema, 'latin1'), header, payload.digest(algorithm)]),
    value: block.subarray(headerBytes),
  };
}
