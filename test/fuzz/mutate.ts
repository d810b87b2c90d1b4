/** Spoils files: a plan of byte mutations, drawn by fast-check from a seed, and its application. The same plan gives the same bytes. */
import * as fc from 'fast-check';
import type { Specimen } from './corpus.ts';

/** Places are fractions of 2^32, so that one plan fits files of every length. */
export type Mutation =
  | { readonly op: 'flip'; readonly at: number; readonly bit: number }
  | { readonly op: 'integer'; readonly at: number; readonly width: 1 | 2 | 4; readonly value: number }
  | { readonly op: 'insert' | 'overwrite'; readonly at: number; readonly bytes: readonly number[] }
  | { readonly op: 'text'; readonly at: number; readonly text: string; readonly over: boolean }
  | { readonly op: 'delete' | 'repeat'; readonly at: number; readonly length: number }
  | { readonly op: 'truncate'; readonly at: number }
  | {
      readonly op: 'splice';
      readonly at: number;
      readonly other: number;
      readonly from: number;
      readonly length: number;
    };

export interface Plan {
  readonly specimen: number;
  /** Where the mutations go: into the file as it is, or into the content of one compressed part, which is packed again. */
  readonly level: 'file' | 'content';
  /** Of `content`: which part, as a fraction. */
  readonly part: number;
  /** Of `content`: correct the checksums of tar headers afterwards, so that the damage gets past them. */
  readonly mendTar: boolean;
  /** Of `content`: sign the result with the trusted key, where it is at hand. */
  readonly sign: boolean;
  readonly mutations: readonly Mutation[];
}

const place = fc.nat({ max: 0xffff_ffff });
const length = fc.oneof(fc.nat({ max: 16 }), fc.nat({ max: 2048 }));
const integers = [
  0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x3fff_ffff,
  0xc000_0000, 0xe000_0008, 0xd000_0010, 0x8000_0008, 0xa000_0014, 0x3000_0008,
];
const words = [
  '\n',
  '\n\n',
  '\r\n',
  '\0',
  ' = ',
  'P:',
  'P:../../x\n',
  'V:1\n',
  'S:99999999999999999999\n',
  'S:-1\n',
  'A:..\n',
  'C:Q1\n',
  'C:Q2',
  'datahash = ',
  'pkgname = ..\n',
  'arch = noarch\n',
  '.SIGN.RSA.',
  '.PKGINFO',
  'APKINDEX',
  'ustar',
  '77777777777',
  '00000000000',
  '\x80\x00\x00\x00',
  '\xff\xfe',
  '11 path=x\n',
  '\x1f\x8b\x08\x00',
  '\x1b[2J',
  '../../etc/passwd',
  '/etc/passwd',
  'ADB.',
  'ADBd',
  'ADBc\x02\x03',
  'pckg',
  'indx',
  '${name}',
  '\x28\xb5\x2f\xfd',
]; // prettier-ignore

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ op: fc.constant('flip' as const), at: place, bit: fc.nat({ max: 7 }) }),
  fc.record({
    op: fc.constant('integer' as const),
    at: place,
    width: fc.constantFrom(1 as const, 2 as const, 4 as const),
    value: fc.constantFrom(...integers),
  }),
  fc.record({
    op: fc.constantFrom('insert' as const, 'overwrite' as const),
    at: place,
    bytes: fc.array(fc.nat({ max: 255 }), { minLength: 1, maxLength: 12 }),
  }),
  fc.record({ op: fc.constant('text' as const), at: place, text: fc.constantFrom(...words), over: fc.boolean() }),
  fc.record({ op: fc.constantFrom('delete' as const, 'repeat' as const), at: place, length }),
  fc.record({ op: fc.constant('truncate' as const), at: place }),
  fc.record({ op: fc.constant('splice' as const), at: place, other: fc.nat({ max: 1 << 20 }), from: place, length }),
);

export const plan: fc.Arbitrary<Plan> = fc.record({
  specimen: fc.nat({ max: 1 << 20 }),
  level: fc.constantFrom('file' as const, 'content' as const),
  part: place,
  mendTar: fc.boolean(),
  sign: fc.boolean(),
  mutations: fc.array(mutation, { minLength: 1, maxLength: 6 }),
});

/** The file that the plan makes of its specimen, and whether it was signed anew by the trusted key. */
export function spoil(
  specimens: readonly Specimen[],
  drawn: Plan,
): { specimen: Specimen; bytes: Buffer; signed: boolean } {
  const specimen = specimens[drawn.specimen % specimens.length] as Specimen;
  const apply = (bytes: Buffer): Buffer => drawn.mutations.reduce((b, m) => mutate(b, m, specimens), bytes);
  if (drawn.level === 'file') return { specimen, bytes: apply(specimen.bytes), signed: false };
  const parts = specimen.format.unpack(specimen.bytes);
  const chosen = offset(drawn.part, parts.length);
  const mutated = parts.map((part, n) => (n === chosen ? apply(part) : part));
  const mended = drawn.mendTar ? mutated.map(mendTar) : mutated;
  const signed = drawn.sign && specimen.resign !== null;
  return { specimen, bytes: signed ? specimen.resign(mended) : specimen.format.pack(mended), signed };
}

function offset(fraction: number, size: number): number {
  return Math.floor((fraction / 0x1_0000_0000) * size);
}

function mutate(bytes: Buffer, m: Mutation, specimens: readonly Specimen[]): Buffer {
  const at = offset(m.at, bytes.length);
  switch (m.op) {
    case 'flip': {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << m.bit);
      return copy;
    }
    case 'integer': {
      const value = Buffer.alloc(4);
      value.writeUInt32LE(m.value);
      return replace(bytes, at, m.width, value.subarray(0, m.width));
    }
    case 'insert':
      return replace(bytes, at, 0, Buffer.from(m.bytes));
    case 'overwrite':
      return replace(bytes, at, m.bytes.length, Buffer.from(m.bytes));
    case 'text':
      return replace(bytes, at, m.over ? m.text.length : 0, Buffer.from(m.text, 'latin1'));
    case 'delete':
      return replace(bytes, at, m.length, Buffer.alloc(0));
    case 'repeat':
      return replace(bytes, at, 0, bytes.subarray(at, at + m.length));
    case 'truncate':
      return bytes.subarray(0, at);
    case 'splice': {
      const other = (specimens[m.other % specimens.length] as Specimen).bytes;
      const from = offset(m.from, other.length);
      return replace(bytes, at, m.length, other.subarray(from, from + m.length));
    }
    default:
      return m satisfies never;
  }
}

function replace(bytes: Buffer, at: number, removed: number, by: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(at + removed)]);
}

/** Writes the right checksum into everything that lies where a tar header may and says `ustar`. */
function mendTar(content: Buffer): Buffer {
  const copy = Buffer.from(content);
  for (let at = 0; at + 512 <= copy.length; at += 512) {
    const header = copy.subarray(at, at + 512);
    if (header.toString('latin1', 257, 262) !== 'ustar') continue;
    header.fill(0x20, 148, 156);
    let sum = 0;
    for (const byte of header) sum += byte;
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return copy;
}
