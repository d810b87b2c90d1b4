/** Says who signed a package, by the keys of a keyring, from the beginning of the file alone. It does not look at the data. */
import type { FileHandle } from 'node:fs/promises';
import { inflateMember } from '../apk/gzip.ts';
import { readHead } from '../apk/head.ts';
import { limits } from '../apk/limits.ts';
import { FormatError, type VerificationCode } from '../errors.ts';
import { untrusted } from './check-package.ts';
import type { Keyring } from './keyring.ts';
import { beginSignatureCheck } from './signature.ts';

export interface PackageSigner {
  /** The name in the signature that clients look at, or in the first one; null when there is none. */
  readonly key: string | null;
  /** Null: the signature is right and its key counts. */
  readonly code: VerificationCode | null;
}

const firstBytes = 64 * 1024;
const mostBytes = 2 * limits.controlBytes;

/** Reads as much of the package as its control member needs. `keyring` is one of `keyringAt`. */
export async function readPackageSigner(file: FileHandle, keyring: Keyring): Promise<PackageSigner> {
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
