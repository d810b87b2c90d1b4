/** Puts v2 packages and indexes together member by member, so that a test can spoil any one part and have the rest right and signed. */
import { hash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { createSigningKey, type SigningKey, tarFile } from '../../src/apk/make.ts';

export const trusted = createSigningKey('good-1.rsa.pub');
export const secondTrusted = createSigningKey('good-2.rsa.pub');
export const unknown = createSigningKey('evil.rsa.pub');

const endOfArchive = Buffer.alloc(1024);

/** A tar entry with empty or textual content. */
export function entry(name: string, content: string | Buffer = ''): Buffer {
  return tarFile(name, Buffer.from(content), 0);
}

/** Writes into a tar header, and its checksum anew unless that is what is to be wrong. */
export function header(bytes: Buffer, change: (header: Buffer) => void, checksum = true): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  if (!checksum) return copy;
  copy.fill(0x20, 148, 156);
  const sum = copy.subarray(0, 512).reduce((all, byte) => all + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return copy;
}

/** A special entry: a link, a directory, a pax header. */
export function typed(type: string, name: string, content = '', linkName = ''): Buffer {
  return header(entry(name, content), (h) => {
    h.write(type, 156, 'latin1');
    h.write(linkName, 157, 'latin1');
  });
}

export function member(...parts: readonly Buffer[]): Buffer {
  return gzipSync(Buffer.concat(parts));
}

/** One signature entry over `signed`; label and name as a test likes. */
export function signature(
  signed: Buffer,
  given: {
    readonly key?: SigningKey;
    readonly name?: string;
    readonly label?: string;
    readonly algorithm?: 'RSA' | 'RSA256' | 'RSA512';
  } = {},
): Buffer {
  const { key = trusted, name = key.name, label = 'RSA', algorithm = 'RSA' } = given;
  return entry(`.SIGN.${label}.${name}`, key.sign(algorithm, signed));
}

export const content = entry('usr/share/foo', 'hello\n');

export interface PackageParts {
  /** The data member as it lies in the file. */
  readonly data?: Buffer;
  /** What lies behind the control member, when that is not what datahash covers. */
  readonly rest?: Buffer;
  /** The text of .PKGINFO, given the right digest of the data. */
  readonly info?: (dataHash: string) => string | Buffer;
  /** The control member, given its right .PKGINFO. */
  readonly control?: (info: Buffer) => Buffer;
  /** What comes before the control member, given that. */
  readonly before?: (control: Buffer) => Buffer;
}

export function infoText(dataHash: string, changes: Readonly<Record<string, string | null>> = {}): string {
  const lines: Record<string, string | null> = {
    pkgname: 'foo',
    pkgver: '1.0-r0',
    arch: 'x86_64',
    size: '6',
    datahash: dataHash,
    ...changes,
  };
  return Object.entries(lines)
    .flatMap(([key, value]) => (value === null ? [] : [`${key} = ${value}\n`]))
    .join('');
}

export function packageOf(parts: PackageParts = {}): Buffer {
  const data = parts.data ?? member(content, endOfArchive);
  const info = Buffer.from((parts.info ?? infoText)(hash('sha256', data, 'hex')));
  const control = parts.control?.(entry('.PKGINFO', info)) ?? member(entry('.PKGINFO', info));
  const before = parts.before?.(control) ?? member(signature(control));
  return Buffer.concat([before, control, parts.rest ?? data]);
}

/** `C:` of a package: the SHA-1 of its control member, which is the one that begins with `.PKGINFO`. */
export function identityOf(control: Buffer): string {
  return `Q1${hash('sha1', control, 'buffer').toString('base64')}`;
}

export interface IndexParts {
  readonly stanzas: string;
  /** The content of the member, given the APKINDEX entry. */
  readonly parts?: (apkindex: Buffer) => readonly Buffer[];
  readonly before?: (signed: Buffer) => Buffer;
  readonly after?: Buffer;
}

export function indexOf({ stanzas, parts, before, after }: IndexParts): Buffer {
  const apkindex = entry('APKINDEX', stanzas);
  const signed = member(...(parts?.(apkindex) ?? [entry('DESCRIPTION', 'test'), apkindex, endOfArchive]));
  return Buffer.concat([before?.(signed) ?? member(signature(signed)), signed, after ?? Buffer.alloc(0)]);
}

export { endOfArchive };
