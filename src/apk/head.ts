/** Finds what a file begins with: its signature members, and the member that they sign. */
import { FormatError } from '../errors.ts';
import { inflateMember, peekMember } from './gzip.ts';
import { limits } from './limits.ts';
import { beginsSignatureMember, readSignatureMember, type Signature } from './signature.ts';

export interface Head {
  readonly signatures: readonly Signature[];
  /** Where the first member after the signature members begins: the signed bytes. */
  readonly start: number;
  /** The first tar record (512 bytes, fewer if the member is shorter) of that member. */
  readonly firstRecord: Buffer;
}

/**
 * Reads the signature members at the start of `bytes`, the beginning of a file. `undefined` means that more of the file
 * is needed. Throws FORMAT_GZIP, FORMAT_TAR, FORMAT_MEMBERS, FORMAT_SIGNATURE, SIG_BAD, LIMIT.
 */
export function readHead(bytes: Buffer): Head | undefined {
  const signatures: Signature[] = [];
  let start = 0;
  for (let members = 0; ; members += 1) {
    const firstRecord = peekMember(bytes, start, 512);
    if (firstRecord === undefined) return undefined;
    if (firstRecord.length === 0) throw new FormatError('FORMAT_MEMBERS', 'an empty gzip member before the signed one');
    if (!beginsSignatureMember(firstRecord)) return { signatures, start, firstRecord };
    if (members === limits.signatureMembers) throw new FormatError('LIMIT', `more than ${members} signature members`);
    const member = inflateMember(bytes, start, limits.signatureMemberBytes);
    if (member === undefined) return undefined;
    signatures.push(...readSignatureMember(member.content));
    start = member.end;
  }
}

/** Says whether the member after the signatures belongs to an index or to a package, by the name of its first entry. */
export function kindOf(head: Head): 'index' | 'package' {
  const name = head.firstRecord.toString('latin1', 0, 12).replace(/\0.*$/s, '');
  return name === 'APKINDEX' || name === 'DESCRIPTION' ? 'index' : 'package';
}
