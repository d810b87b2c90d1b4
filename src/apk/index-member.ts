/** Reads the one member of an index as it streams by: the description and the entries, nothing held but the present line. */
import { FormatError } from '../errors.ts';
import { MemberStream } from './gzip.ts';
import { limits } from './limits.ts';
import { StanzaParser, type StanzaOptions } from './stanzas.ts';
import { type TarEntry, TarReader } from './tar.ts';

export interface IndexContent {
  /** The text of `DESCRIPTION`, null without one (or one that is too long, which clients ignore). */
  readonly description: string | null;
  readonly packages: number;
  readonly newestBuildTime: number | null;
  /** A field that clients do not know, which makes a package impossible to install; null if there is none. */
  readonly unknownField: string | null;
}

export class IndexMember implements Disposable {
  readonly #stanzas: StanzaParser;
  readonly #member: MemberStream;
  readonly #tar: TarReader;
  #reading: 'stanzas' | 'description' | 'other' = 'other';
  #found = false;
  #description: Buffer[] | undefined;

  constructor(options: StanzaOptions) {
    this.#stanzas = new StanzaParser(options);
    this.#tar = new TarReader(
      { entry: (entry) => this.#takeEntry(entry), content: (bytes) => this.#takeContent(bytes) },
      { endBlocks: 'allowed' },
    );
    this.#member = new MemberStream(limits.indexBytes, (bytes) => this.#tar.push(bytes));
  }

  get ended(): boolean {
    return this.#member.ended;
  }

  /**
   * Takes the next compressed bytes, which must stay as they are until this settles; returns how many belong to the member.
   * Throws FORMAT_…, INDEX_… or LIMIT.
   */
  async push(chunk: Buffer): Promise<number> {
    return this.#member.push(chunk);
  }

  /** After the last byte of the member: what the index holds. Throws FORMAT_TAR, FORMAT_INDEX or INDEX_… of its last stanza. */
  finish(): IndexContent {
    this.#tar.finish();
    if (!this.#found) throw new FormatError('FORMAT_INDEX', 'the index holds no APKINDEX');
    this.#stanzas.finish();
    const { packages, newestBuildTime, unknownField } = this.#stanzas;
    const text = Buffer.concat(this.#description ?? []).toString('utf8');
    const description = text === '' ? null : text;
    return { description, packages, newestBuildTime, unknownField };
  }

  [Symbol.dispose](): void {
    this.#member[Symbol.dispose]();
  }

  #takeEntry(entry: TarEntry): void {
    this.#reading = 'other';
    if (entry.name === '.PKGINFO') throw new FormatError('FORMAT_INDEX', 'a .PKGINFO inside an index');
    if (entry.name === 'APKINDEX') {
      if (this.#found) throw new FormatError('FORMAT_INDEX', 'two entries APKINDEX');
      if (entry.type !== '0') throw new FormatError('FORMAT_INDEX', 'APKINDEX is no regular file');
      this.#found = true;
      this.#reading = 'stanzas';
    }
    if (entry.name === 'DESCRIPTION' && entry.size <= limits.descriptionBytes) {
      this.#description = [];
      this.#reading = 'description';
    }
  }

  #takeContent(bytes: Buffer): void {
    if (this.#reading === 'stanzas') this.#stanzas.push(bytes);
    // Copied: what was given may be overwritten after the call.
    else if (this.#reading === 'description') this.#description?.push(Buffer.from(bytes));
  }
}
