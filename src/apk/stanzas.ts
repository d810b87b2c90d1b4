/** Parses the text of an APKINDEX as it streams by: bytes in, one entry out per stanza, never more than a line held. */
import { FormatError, type VerificationCode } from '../errors.ts';
import { type IndexEntry, isArch, isPackageName, maxFileNameBytes, packageFileName } from './entry.ts';
import { limits } from './limits.ts';
import { LineSplitter } from './lines.ts';
import { EntryTable } from './table.ts';
import { isVersion } from './version.ts';

export interface StanzaOptions {
  /** What `A:` must be: the last component of the repository's path; null asks only for a safe component. */
  readonly arch: string | null;
  readonly onEntry: (entry: IndexEntry) => void;
}

const colon = 0x3a;
/** Fields that are read; the others of the specification are passed over, and those it does not know are noted. */
const readFields = ['C', 'P', 'V', 'A', 'S', 't'] as const;
const otherFields = 'ITULDgpirkomcFMRZafqs';

/** By the first byte of a line: the place in `readFields`, or what else the field is. */
const kinds: readonly (number | 'known' | 'unknown' | 'wrong')[] = Array.from({ length: 256 }, (_, byte) => {
  const field = String.fromCharCode(byte);
  const place = readFields.findIndex((read) => read === field);
  if (place >= 0) return place;
  if (otherFields.includes(field) || (field >= 'a' && field <= 'z')) return 'known';
  return field >= 'A' && field <= 'Z' ? 'unknown' : 'wrong';
});

export class StanzaParser {
  readonly #options: StanzaOptions;
  readonly #table = new EntryTable();
  readonly #lines = new LineSplitter((bytes, start, end) => this.#takeLine(bytes, start, end));
  /** The fields of the present stanza, in the places of `readFields`. */
  #values: string[] = [];
  #stanzaBegun = false;
  #stanzas = 0;
  #line = 0;
  #unknownField: string | null = null;
  #newestBuildTime: number | null = null;

  constructor(options: StanzaOptions) {
    this.#options = options;
  }

  /** Distinct packages so far; a stanza that is repeated as it was counts once. */
  get packages(): number {
    return this.#table.size;
  }

  /** The greatest `t:` so far. */
  get newestBuildTime(): number | null {
    return this.#newestBuildTime;
  }

  /** An upper-case field that clients do not know, which makes its package impossible to install (i29). */
  get unknownField(): string | null {
    return this.#unknownField;
  }

  /** Takes the next bytes. Throws INDEX_… for a stanza that breaks a rule, LIMIT for too long a line or too many stanzas. */
  push(bytes: Buffer): void {
    this.#lines.push(bytes);
  }

  /** Says that the text has ended; the last stanza needs no empty line after it. */
  finish(): void {
    this.#lines.finish();
    this.#takeStanza();
  }

  #takeLine(bytes: Buffer, start: number, end: number): void {
    this.#line += 1;
    if (end === start) {
      this.#takeStanza();
      return;
    }
    const first = bytes[start] ?? 0;
    const kind = kinds[first];
    if (kind === 'wrong' || end - start < 2 || bytes[start + 1] !== colon)
      throw this.#fault('INDEX_SYNTAX', 'no `X:` at its start');
    this.#stanzaBegun = true;
    if (kind === 'unknown') this.#unknownField ??= String.fromCharCode(first);
    if (typeof kind !== 'number') return;
    // Clients take the last of two, other readers the first: they must not see different packages.
    if (this.#values[kind] !== undefined)
      throw this.#fault('INDEX_SYNTAX', `a second ${readFields[kind]}: in one stanza`);
    this.#values[kind] = bytes.toString('latin1', start + 2, end);
  }

  #takeStanza(): void {
    if (!this.#stanzaBegun) return;
    this.#stanzas += 1;
    if (this.#stanzas > limits.indexStanzas)
      throw new FormatError('LIMIT', `more than ${limits.indexStanzas} stanzas in the index`);
    const entry = this.#readEntry();
    this.#values = [];
    this.#stanzaBegun = false;
    const added = this.#table.add(entry);
    if (added === 'conflict') {
      throw this.#fault('INDEX_DUPLICATE', `${entry.name} ${entry.version} listed before with another C: or S:`);
    }
    if (entry.buildTime !== null) this.#newestBuildTime = Math.max(this.#newestBuildTime ?? 0, entry.buildTime);
    if (added === 'new') this.#options.onEntry(entry);
  }

  #readEntry(): IndexEntry {
    const [checksum = '', name = '', version = '', arch = '', sizeText, timeText] = this.#values;
    if (!isPackageName(name)) throw this.#fault('INDEX_NAME', `P: missing or no package name: ${quote(name)}`);
    if (!isVersion(version))
      throw this.#fault('INDEX_VERSION', `V: of ${name} missing or no version: ${quote(version)}`);
    if (packageFileName({ name, version }).length > maxFileNameBytes) {
      throw this.#fault('INDEX_NAME', `a package whose file name would be longer than ${maxFileNameBytes} bytes`);
    }
    const identity = readIdentity(checksum);
    if (identity === undefined) throw this.#fault('INDEX_CHECKSUM', `C: of ${name} missing or no SHA-1 (Q1… or X1…)`);
    const expected = this.#options.arch;
    if (expected === null ? !isArch(arch) : arch !== expected) {
      throw this.#fault(
        'INDEX_ARCH',
        `A: of ${name}: expected ${expected ?? 'one path component'}, got ${quote(arch)}`,
      );
    }
    const size = readNumber(sizeText);
    const buildTime = timeText === undefined ? null : readNumber(timeText);
    if (size === undefined) throw this.#fault('INDEX_SYNTAX', `S: of ${name} missing or no size`);
    if (buildTime === undefined) throw this.#fault('INDEX_SYNTAX', `t: of ${name} is no time`);
    return { name, version, arch: expected ?? arch, identity, size, buildTime };
  }

  #fault(code: VerificationCode, what: string): FormatError {
    return new FormatError(code, `APKINDEX line ${this.#line}: ${what}`);
  }
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

/** `C:` in hex. Only SHA-1 makes a v2 package installable: `Q1` + base64 or `X1` + hex of 20 bytes, written in the one right way. */
function readIdentity(text: string): string | undefined {
  if (/^X1[0-9a-f]{40}$/.test(text)) return text.slice(2);
  if (!text.startsWith('Q1')) return undefined;
  const digest = Buffer.from(text.slice(2), 'base64');
  return digest.length === 20 && `Q1${digest.toString('base64')}` === text ? digest.toString('hex') : undefined;
}

function readNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
