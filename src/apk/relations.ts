/** Reads which packages of an index need and provide what, as the file streams by: a v2 or a v3 one. Nothing is verified: only for what was. */
import { FormatError } from '../errors.ts';
import { inPieces } from '../system/pieces.ts';
import { AdbIndexFile } from './adb-index-file.ts';
import { AdbValues } from './adb-values.ts';
import { packageFileName } from './entry.ts';
import { MemberStream } from './gzip.ts';
import { readHead } from './head.ts';
import { limits } from './limits.ts';
import { LineSplitter } from './lines.ts';
import { parsePkgnameSpec } from './pkgname-spec.ts';
import { TarReader } from './tar.ts';

export interface PackageRelations {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  /** Where it lies, relative to the directory of the index. */
  readonly file: string;
  /** Names without versions; not those that it conflicts with. */
  readonly depends: readonly string[];
  /** Its own name, then what else it provides, without versions. */
  readonly provides: readonly string[];
}

type OnPackage = (relations: PackageRelations) => void;

/** One index. Throws FORMAT_…, ADB_…, TRUNCATED, LIMIT, INDEX_NAME for a `pkgname-spec`, and what `onPackage` throws. */
export class RelationsReader implements Disposable {
  readonly #onPackage: OnPackage;
  #reader: MemberReader | AdbReader | undefined;

  constructor(onPackage: OnPackage) {
    this.#onPackage = onPackage;
  }

  /** Takes the next bytes, which must stay as they are until this settles. */
  async push(chunk: Buffer): Promise<void> {
    this.#reader ??=
      chunk.toString('latin1', 0, 3) === 'ADB' ? new AdbReader(this.#onPackage) : new MemberReader(this.#onPackage);
    await this.#reader.push(chunk);
  }

  async finish(): Promise<void> {
    if (this.#reader === undefined) throw new FormatError('TRUNCATED', 'the file is empty');
    await this.#reader.finish();
  }

  [Symbol.dispose](): void {
    this.#reader?.[Symbol.dispose]();
  }
}

/** v2: the `APKINDEX` of the member after the signatures. */
class MemberReader implements Disposable {
  readonly #onPackage: OnPackage;
  readonly #lines = new LineSplitter((bytes, start, end) => this.#takeLine(bytes, start, end));
  readonly #tar = new TarReader(
    {
      entry: ({ name }) => {
        this.#inText = name === 'APKINDEX';
      },
      content: (bytes) => {
        if (this.#inText) this.#lines.push(bytes);
      },
    },
    { endBlocks: 'allowed' },
  );
  readonly #member = new MemberStream(limits.indexBytes, (bytes) => this.#tar.push(bytes));
  #start: Buffer | null = Buffer.alloc(0);
  #inText = false;
  #fields = new Map<string, string>();

  constructor(onPackage: OnPackage) {
    this.#onPackage = onPackage;
  }

  async push(chunk: Buffer): Promise<void> {
    if (this.#start === null) {
      await this.#member.push(chunk);
      return;
    }
    const bytes = Buffer.concat([this.#start, chunk]);
    const head = readHead(bytes);
    this.#start = head === undefined ? bytes : null;
    if (head !== undefined) await this.#member.push(bytes.subarray(head.start));
  }

  finish(): void {
    if (!this.#member.ended) throw new FormatError('TRUNCATED', 'the file ends within the index');
    this.#lines.finish();
    this.#takeStanza();
  }

  [Symbol.dispose](): void {
    this.#member[Symbol.dispose]();
  }

  #takeLine(bytes: Buffer, start: number, end: number): void {
    if (end === start) {
      this.#takeStanza();
      return;
    }
    const field = String.fromCharCode(bytes[start] ?? 0);
    if (readFields.includes(field)) this.#fields.set(field, bytes.toString('latin1', start + 2, end));
  }

  #takeStanza(): void {
    if (this.#fields.size === 0) return;
    const field = (letter: string): string => this.#fields.get(letter) ?? '';
    const [name, version, arch] = [field('P'), field('V'), field('A')];
    const file = packageFileName({ name, version });
    const provides = [name, ...namesIn(field('p'))];
    this.#onPackage({ name, version, arch, file, depends: namesIn(field('D')), provides });
    this.#fields = new Map();
  }
}

const readFields = 'PVADp';

/** The names in a `D:` or `p:`, of which each may have a version behind it; `!name` is a conflict. */
function namesIn(text: string): string[] {
  if (text === '') return [];
  return text
    .split(' ')
    .filter((part) => !part.startsWith('!'))
    .map(bareName)
    .filter((name) => name !== '');
}

function bareName(text: string): string {
  const end = text.search(/[<>=~@]/);
  return end < 0 ? text : text.slice(0, end);
}

const root = { packages: 2, spec: 3 };
const info = { name: 1, version: 2, hashes: 3, arch: 5, depends: 15, provides: 16 };
const dependency = { name: 1, match: 3 };
const conflictMatch = 16;
const textBytes = 255;
/** Packages and relations that are read before others have their turn. */
const pieceValues = 1000;
const knownNames = 50_000;

/** v3: the payload of the ADB block, which is held whole. */
class AdbReader implements Disposable {
  readonly #onPackage: OnPackage;
  readonly #file = new AdbIndexFile(this);
  /** By the value of a dependency: apk writes equal ones once. */
  readonly #known = new Map<number, string>();
  #payload: Buffer = Buffer.alloc(0);
  #seen = 0;

  constructor(onPackage: OnPackage) {
    this.#onPackage = onPackage;
  }

  async push(chunk: Buffer): Promise<void> {
    await this.#file.push(chunk);
  }

  async finish(): Promise<void> {
    await this.#file.finish();
    await inPieces(this.#walk(new AdbValues(this.#payload)));
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  adb(bytes: Buffer): void {
    this.#payload = bytes;
  }

  schema(): void {
    // What is served as an index was verified to be one.
  }

  signature(): void {
    // Verified when it was published.
  }

  *#walk(values: AdbValues): Generator<void, void> {
    const top = values.slots(values.root, 'the index');
    const spec = values.text(top.at(root.spec), 'pkgname-spec', limits.lineBytes) ?? '';
    const pathOf = spec === '' ? null : parsePkgnameSpec(spec);
    const packages = values.slots(top.at(root.packages), 'the packages');
    if (packages.length > limits.indexStanzas)
      throw new FormatError('LIMIT', `more than ${limits.indexStanzas} packages in the index`);
    for (let n = 1, pause = pieceValues; n <= packages.length; n += 1) {
      const slots = values.slots(packages.at(n), `package ${n}`);
      const text = (slot: number): string =>
        values.text(slots.at(slot), `field ${slot} of package ${n}`, textBytes) ?? '';
      const [name, version, arch] = [text(info.name), text(info.version), text(info.arch)];
      const hash = values.blob(slots.at(info.hashes), `the hash of package ${n}`)?.toString('hex') ?? '';
      const depends = this.#names(values, slots.at(info.depends));
      const provides = [name, ...this.#names(values, slots.at(info.provides))];
      const file = pathOf?.({ name, version, arch, hash }) ?? packageFileName({ name, version });
      this.#onPackage({ name, version, arch, file, depends, provides });
      this.#seen += 1;
      if (this.#seen < pause) continue;
      pause = this.#seen + pieceValues;
      yield;
    }
  }

  #names(values: AdbValues, value: number): string[] {
    const slots = values.slots(value, 'dependencies');
    this.#seen += slots.length;
    if (this.#seen > limits.indexRelations)
      throw new FormatError('LIMIT', `more than ${limits.indexRelations} dependencies in the index`);
    const names: string[] = [];
    for (let n = 1; n <= slots.length; n += 1) {
      const name = this.#nameOf(values, slots.at(n));
      if (name !== '') names.push(name);
    }
    return names;
  }

  /** The name of a dependency; none for a conflict. */
  #nameOf(values: AdbValues, value: number): string {
    const known = this.#known.get(value);
    if (known !== undefined) return known;
    const fields = values.slots(value, 'a dependency');
    const match = values.int(fields.at(dependency.match), 'the match of a dependency') ?? 0;
    const name = values.text(fields.at(dependency.name), 'the name of a dependency', textBytes) ?? '';
    const wanted = (match & conflictMatch) === 0 ? name : '';
    if (this.#known.size >= knownNames) this.#known.clear();
    this.#known.set(value, wanted);
    return wanted;
  }
}
