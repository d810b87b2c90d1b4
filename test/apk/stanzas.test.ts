import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import type { IndexEntry } from '../../src/apk/entry.ts';
import { StanzaParser } from '../../src/apk/stanzas.ts';
import { EntryTable } from '../../src/apk/table.ts';
import { isVersion } from '../../src/apk/version.ts';
import { FormatError } from '../../src/errors.ts';

const digest = Buffer.alloc(20, 7);
const checksum = `Q1${digest.toString('base64')}`;
const good = { C: checksum, P: 'foo', V: '1.0-r0', A: 'x86_64', S: '831', t: '1700000000' };

function stanza(fields: Record<string, string | undefined> = {}): string {
  const all: Record<string, string | undefined> = { ...good, ...fields };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined);
  return `${lines.map(([field, value]) => `${field}:${value}\n`).join('')}\n`;
}

function parse(text: string | Buffer, pieceBytes = 1 << 20, arch: string | null = 'x86_64') {
  const entries: IndexEntry[] = [];
  const parser = new StanzaParser({ arch, onEntry: (entry) => entries.push(entry) });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    // The memory of a chunk is used again: nothing may hang on it after the call.
    const piece = Buffer.from(bytes.subarray(at, at + pieceBytes));
    parser.push(piece);
    piece.fill(0);
  }
  parser.finish();
  return { entries, parser };
}

const codeOf = (text: string, arch: string | null = 'x86_64'): string => {
  try {
    parse(text, 1 << 20, arch);
    return 'accept';
  } catch (error) {
    assert.ok(error instanceof FormatError);
    return error.code;
  }
};

test('an entry has what its stanza says', () => {
  const { entries, parser } = parse(stanza());
  assert.deepEqual(entries, [
    {
      name: 'foo',
      version: '1.0-r0',
      arch: 'x86_64',
      identity: digest.toString('hex'),
      size: 831,
      buildTime: 1_700_000_000,
    },
  ]);
  assert.equal(parser.newestBuildTime, 1_700_000_000);
});

test('the pieces in which the text comes do not matter', () => {
  const text = Array.from({ length: 20 }, (_, i) => stanza({ P: `foo${i}`, T: 'é'.repeat(i), D: 'so:libc a>1' })).join(
    '',
  );
  const expected = parse(text).entries;
  assert.equal(expected.length, 20);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), (pieceBytes) => {
      assert.deepEqual(parse(text, pieceBytes).entries, expected);
    }),
  );
});

const table: [string, string, string][] = [
  ['no P', stanza({ P: undefined }), 'INDEX_NAME'],
  ['P with a slash', stanza({ P: '../../foo' }), 'INDEX_NAME'],
  ['P of dots', stanza({ P: '..' }), 'INDEX_NAME'],
  ['P empty', stanza({ P: '' }), 'INDEX_NAME'],
  ['P with a space', stanza({ P: 'a b' }), 'INDEX_NAME'],
  ['P with an escape code', stanza({ P: 'a\u001b[31m' }), 'INDEX_NAME'],
  ['a file name of 256 bytes', stanza({ P: 'a'.repeat(245) }), 'INDEX_NAME'],
  ['a file name of 255 bytes', stanza({ P: 'a'.repeat(244) }), 'accept'],
  ['V with a suffix that nobody knows', stanza({ V: '1.0_foo' }), 'INDEX_VERSION'],
  ['a carriage return', stanza({ V: '1.0-r0\r' }), 'INDEX_VERSION'],
  ['C of SHA-256', stanza({ C: `Q2${Buffer.alloc(32).toString('base64')}` }), 'INDEX_CHECKSUM'],
  ['C in hex', stanza({ C: `X1${digest.toString('hex')}` }), 'accept'],
  ['C without its padding', stanza({ C: checksum.slice(0, -1) }), 'INDEX_CHECKSUM'],
  ['C empty', stanza({ C: '' }), 'INDEX_CHECKSUM'],
  ['no A', stanza({ A: undefined }), 'INDEX_ARCH'],
  ['A:noarch in another directory', stanza({ A: 'noarch' }), 'INDEX_ARCH'],
  ['no S', stanza({ S: undefined }), 'INDEX_SYNTAX'],
  ['S negative', stanza({ S: '-1' }), 'INDEX_SYNTAX'],
  ['S over 2^53', stanza({ S: '9007199254740993' }), 'INDEX_SYNTAX'],
  ['t no number', stanza({ t: 'now' }), 'INDEX_SYNTAX'],
  ['no t', stanza({ t: undefined }), 'accept'],
  ['P twice in a stanza', stanza().replace('P:foo\n', 'P:bar\nP:foo\n'), 'INDEX_SYNTAX'],
  ['a line of one character', `${stanza().trimEnd()}\nx\n`, 'INDEX_SYNTAX'],
  ['a digit as a field', stanza({ 1: 'x' }), 'INDEX_SYNTAX'],
  ['an unknown lower-case field', stanza({ z: 'x' }), 'accept'],
  ['no empty line at the end', stanza().trimEnd(), 'accept'],
  ['the same stanza twice', stanza() + stanza(), 'accept'],
  ['another C', stanza() + stanza({ C: `Q1${Buffer.alloc(20).toString('base64')}` }), 'INDEX_DUPLICATE'],
  ['another S', stanza() + stanza({ S: '832' }), 'INDEX_DUPLICATE'],
  ['a line of 64 KiB', stanza({ T: 'x'.repeat(65534) }), 'accept'],
  ['a line of 64 KiB and a byte', stanza({ T: 'x'.repeat(65535) }), 'LIMIT'],
];
for (const [name, text, expected] of table) {
  test(`${name}: ${expected}`, () => assert.equal(codeOf(text), expected));
}

test('without a given architecture A: must still be one safe component', () => {
  assert.equal(codeOf(stanza({ A: 'armhf' }), null), 'accept');
  assert.equal(codeOf(stanza({ A: '../..' }), null), 'INDEX_ARCH');
});

test('an unknown upper-case field is noted', () => {
  assert.equal(parse(stanza({ X: '1' })).parser.unknownField, 'X');
  assert.equal(parse(stanza({ F: '1', Z: '2' })).parser.unknownField, null);
});

test('a repeated stanza counts once', () => {
  const { entries, parser } = parse(stanza() + stanza());
  assert.equal(entries.length, 1);
  assert.equal(parser.packages, 1);
});

test('a line that never ends is refused at its limit, not at its end', () => {
  const parser = new StanzaParser({ arch: null, onEntry: () => {} });
  const piece = Buffer.alloc(16 * 1024, 0x54);
  let pushed = 0;
  assert.throws(() => {
    for (; pushed < 100; pushed += 1) parser.push(piece);
  }, FormatError);
  assert.equal(pushed, 4);
});

test('the table tells new, same and conflicting entries apart through every growth', () => {
  const known = new EntryTable();
  const entry = (i: number) => ({
    name: `p${i}`,
    version: '1',
    arch: 'x',
    identity: i.toString(16).padStart(40, '0'),
    size: i,
  });
  for (let i = 0; i < 20_000; i += 1) assert.equal(known.add(entry(i)), 'new');
  for (let i = 0; i < 20_000; i += 7) {
    assert.equal(known.add(entry(i)), 'same');
    assert.equal(known.add({ ...entry(i), size: i + 1 }), 'conflict');
  }
  assert.equal(known.size, 20_000);
});

test('versions', () => {
  const valid = [
    '1',
    '1.0',
    '1.0a',
    '1.0_rc1',
    '1.0_p1_rc2',
    '1.0_git',
    '1.0~abc',
    '1.0-r0',
    '1.2b_alpha3~0f-r12',
    '20240101',
    '6.0_0002-r1',
    '6.8.0p2-r4',
  ];
  const invalid = [
    '',
    '1.0.',
    '1.0_foo',
    'abc',
    '1.0-r',
    '1.0~xyz',
    '1.0aa',
    '1..0',
    '1.0_rc1.2',
    '1.0-r1-r2',
    '1/../x',
    '1.0A',
    '1.0\n',
    ' 1',
  ];
  for (const text of valid) assert.ok(isVersion(text), text);
  for (const text of invalid) assert.ok(!isVersion(text), JSON.stringify(text));
});
