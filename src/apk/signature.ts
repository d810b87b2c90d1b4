/** Reads signature members: which keys claim to have signed, and with what. Whether a signature is right is decided in trust. */
import { FormatError } from '../errors.ts';
import { limits } from './limits.ts';
import { type TarEntry, TarReader } from './tar.ts';

/** RSA signs SHA-1, RSA256 SHA-256, RSA512 SHA-512; DSA signs SHA-1. */
export type SignatureAlgorithm = 'RSA' | 'RSA256' | 'RSA512' | 'DSA';

export interface Signature {
  readonly algorithm: SignatureAlgorithm;
  /** The whole key file name, such as `builder.rsa.pub`: to be compared with names, never to be used as a path. */
  readonly keyName: string;
  readonly value: Buffer;
}

const prefix = '.SIGN.';
const algorithms: readonly string[] = ['RSA', 'RSA256', 'RSA512', 'DSA'];

/** True when a member whose first tar record this is holds signatures. */
export function beginsSignatureMember(record: Buffer): boolean {
  return record.toString('latin1', 0, prefix.length) === prefix && record[156] !== 0x78;
}

/**
 * The signatures of one member's content that clients would consider, in order: unknown algorithms and oversize values are
 * left out. SIG_BAD when the member also holds what it should sign, FORMAT_SIGNATURE when it holds anything else.
 */
export function readSignatureMember(content: Buffer): Signature[] {
  const found: (Omit<Signature, 'value'> & { readonly parts: Buffer[] })[] = [];
  let parts: Buffer[] | undefined;
  const tar = new TarReader(
    {
      entry: (entry) => {
        checkEntry(entry);
        parts = undefined;
        const [, algorithm, keyName] = /^\.SIGN\.([^.]*)\.(.*)$/s.exec(entry.name) ?? [];
        if (algorithm === undefined || keyName === undefined) {
          throw new FormatError('FORMAT_SIGNATURE', 'an entry .SIGN. without an algorithm and a key name');
        }
        if (!isAlgorithm(algorithm) || entry.size > limits.signatureBytes) return;
        parts = [];
        found.push({ algorithm, keyName, parts });
      },
      content: (bytes) => parts?.push(bytes),
    },
    { endBlocks: 'refused' },
  );
  tar.push(content);
  tar.finish();
  return found.map(({ algorithm, keyName, parts: value }) => ({ algorithm, keyName, value: Buffer.concat(value) }));
}

function checkEntry(entry: TarEntry): void {
  if (entry.paxKeys.length > 0) throw new FormatError('FORMAT_SIGNATURE', 'a pax header in a signature member');
  if (['.PKGINFO', 'APKINDEX', 'DESCRIPTION'].includes(entry.name)) {
    throw new FormatError('SIG_BAD', `${entry.name} lies in the signature member, so no signature covers it`);
  }
  if (!entry.name.startsWith(prefix) || entry.type !== '0') {
    throw new FormatError('FORMAT_SIGNATURE', 'a signature member holds something that is no signature');
  }
}

function isAlgorithm(text: string): text is SignatureAlgorithm {
  return algorithms.includes(text);
}
