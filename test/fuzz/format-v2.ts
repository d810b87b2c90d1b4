/** What the fuzzer must know of v2 files, written anew with zlib alone: it judges the parsers of src/apk and may not share their mistakes. */
import { gunzipSync, gzipSync, inflateRawSync, type InflateRaw } from 'node:zlib';

/** How files of one format are taken apart, put together, and told from what their author signed. */
export interface Format {
  /** The content of each compressed part of a whole file. */
  unpack(file: Buffer): Buffer[];
  /** A file with these parts, compressed anew: other bytes, the same content. */
  pack(parts: readonly Buffer[]): Buffer;
  /** True when a reader of `file` gets exactly the authenticated bytes of `original`; what is outside of them may differ. */
  isAuthentic(file: Buffer, original: Buffer): boolean;
}

export const formatV2: Format = {
  unpack: (file) => membersOf(file).map(({ start, end }) => gunzipSync(file.subarray(start, end))),
  pack: (parts) => Buffer.concat(parts.map((part) => gzipSync(part))),
  isAuthentic: (file, original) => {
    // Everything from the control member (of an index: the one member) to the end of the file; the signature before it is not.
    const signed = original.subarray(signatureLength(original));
    const start = file.length - signed.length;
    return start >= 0 && file.subarray(start).equals(signed) && holdsOnlySignatures(file.subarray(0, start));
  },
};

interface Span {
  readonly start: number;
  readonly end: number;
}

/** The members of a file that is known to be right and has plain gzip headers. */
function membersOf(file: Buffer): Span[] {
  const spans: Span[] = [];
  for (let start = 0; start < file.length; ) {
    const body = start + headerLength(file, start);
    const { engine } = inflateRawSync(file.subarray(body), { info: true }) as unknown as { engine: InflateRaw };
    const end = body + engine.bytesWritten + 8;
    spans.push({ start, end });
    start = end;
  }
  return spans;
}

function headerLength(file: Buffer, start: number): number {
  const flags = file[start + 3] ?? 0;
  let at = start + 10;
  if ((flags & 4) !== 0) at += 2 + file.readUInt16LE(at);
  if ((flags & 8) !== 0) at = file.indexOf(0, at) + 1;
  if ((flags & 16) !== 0) at = file.indexOf(0, at) + 1;
  if ((flags & 2) !== 0) at += 2;
  return at - start;
}

/** Where the signature members of a right file end. */
export function signatureLength(file: Buffer): number {
  let length = 0;
  for (const { start, end } of membersOf(file)) {
    if (gunzipSync(file.subarray(start, end)).toString('latin1', 0, 6) !== '.SIGN.') break;
    length = end;
  }
  return length;
}

/** True for gzip members whose tar entries are all called `.SIGN.…`: nothing that a client would take for content. */
function holdsOnlySignatures(bytes: Buffer): boolean {
  if (bytes.length === 0) return true;
  const content = gunzipSync(bytes);
  for (let at = 0; at < content.length; ) {
    if (content.toString('latin1', at, at + 6) !== '.SIGN.') return false;
    const size = Number.parseInt(content.toString('latin1', at + 124, at + 136).replaceAll(/[ \0]/g, '') || '0', 8);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return true;
}
