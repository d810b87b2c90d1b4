/** Says who signed a package, by the keys of a keyring, from the beginning of the file alone. It does not look at the data. */
import type { FileHandle } from 'node:fs/promises';
import { AdbBlockReader } from '../apk/adb-blocks.ts';
import { AdbContainer } from '../apk/adb-container.ts';
import { AdbPayload, type AdbSignature, readAdbSignature } from '../apk/adb-signature.ts';
import { inflateMember } from '../apk/gzip.ts';
import { readHead } from '../apk/head.ts';
import { limits } from '../apk/limits.ts';
import { FormatError, type VerificationCode } from '../errors.ts';
import { untrusted } from './check-package.ts';
import type { Keyring } from './keyring.ts';
import { beginSignatureCheck } from './signature.ts';
import { findSigner } from './signature-v3.ts';

export interface PackageSigner {
  /** The name in the signature that clients look at, or in the first one (v3: its key id); null when there is none. */
  readonly key: string | null;
  /** Null: the signature is right and its key counts. */
  readonly code: VerificationCode | null;
}

const firstBytes = 64 * 1024;
const mostBytes = 2 * limits.controlBytes;

/** Reads as much of the package as is signed. `keyring` is one of `keyringAt`. */
export async function readPackageSigner(file: FileHandle, keyring: Keyring): Promise<PackageSigner> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(3), 0, 3, 0);
  return buffer.toString('latin1', 0, bytesRead) === 'ADB' ? readAdbSigner(file, keyring) : readV2Signer(file, keyring);
}

/** Reads up to the first DATA block. */
async function readAdbSigner(file: FileHandle, keyring: Keyring): Promise<PackageSigner> {
  let payload: AdbPayload | undefined;
  const signatures: AdbSignature[] = [];
  const data = { seen: false };
  const blocks = new AdbBlockReader(
    {
      schema: () => {},
      adb: (bytes) => {
        payload = new AdbPayload(bytes);
      },
      signature: (block) => {
        const signature = payload && readAdbSignature(block, 'pckg', payload);
        if (signature !== undefined) signatures.push(signature);
      },
      beginData: () => {
        data.seen = true;
      },
      content: () => {},
      endData: () => {},
    },
    limits.adbPackageBytes,
  );
  using container = new AdbContainer({
    cap: 2 * limits.adbPackageBytes,
    onBytes: (bytes) => {
      if (!data.seen) blocks.push(bytes);
    },
  });
  try {
    const buffer = Buffer.alloc(firstBytes);
    for (let position = 0; !data.seen; ) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) break;
      await container.push(buffer.subarray(0, bytesRead));
      position += bytesRead;
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    // What follows the first DATA block is of no interest here.
    if (!data.seen) return { key: signatures[0]?.keyId ?? null, code: error.code };
  }
  const { keyName, refusal } = findSigner(signatures, keyring);
  if (keyName !== null) return { key: keyName, code: null };
  return { key: signatures[0]?.keyId ?? null, code: refusal?.code ?? 'SIG_UNTRUSTED' };
}

/** Reads as much of the package as its control member needs. */
async function readV2Signer(file: FileHandle, keyring: Keyring): Promise<PackageSigner> {
  let key: string | null = null;
  try {
    for (let length = firstBytes; ; length *= 4) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0);
      const bytes = buffer.subarray(0, bytesRead);
      const head = readHead(bytes);
      const control = head === undefined ? undefined : inflateMember(bytes, head.start, limits.controlBytes);
      if (head === undefined || control === undefined) {
        if (bytesRead < length || length >= mostBytes)
          throw new FormatError('TRUNCATED', 'the file ends before its control member does');
        continue;
      }
      const counts = head.signatures.find(({ keyName }) => keyring.keys.some(({ name }) => name === keyName));
      key = (counts ?? head.signatures[0])?.keyName ?? null;
      const check = beginSignatureCheck(head.signatures, keyring);
      if (check === undefined) throw untrusted(head.signatures);
      check.update(bytes.subarray(head.start, control.end));
      return { key, code: check.isRight() ? null : 'SIG_BAD' };
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { key, code: error.code };
  }
}
