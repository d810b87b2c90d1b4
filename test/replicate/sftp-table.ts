/** An SFTP server whose files are a table: it works off its requests in order, gives out handles as it is told, and refuses what a test names. */
import { type Duplex, duplexPair } from 'node:stream';
import { posix } from 'node:path';
import { SftpSession } from '../../src/system/ssh-sftp.ts';
import {
  attributes,
  encodePacket,
  FieldReader,
  openFlag,
  PacketSplitter,
  packet,
  status,
  text,
  uint32,
} from '../../src/system/ssh-sftp-wire.ts';

/** `openssh`: the handle that was closed last, then the next number. `numbers`: never one twice. `names`: no numbers at all. */
export type Handles = 'openssh' | 'numbers' | 'names';

export interface TableOptions {
  readonly handles?: Handles;
  readonly directories?: readonly string[];
  /** The status with which a request is refused, given its name and the path that it is about. */
  readonly refuse?: (request: string, path: string) => number | undefined;
  /** Bytes that one read brings at most. */
  readonly mostRead?: number;
  /** Another session of the same account. */
  readonly sharing?: SftpTable;
}

const handleRequests: ReadonlySet<number> = new Set([
  packet.read,
  packet.write,
  packet.fstat,
  packet.fsetstat,
  packet.close,
]);
const answerTo: ReadonlyMap<number, number> = new Map([
  [packet.read, packet.data],
  [packet.fstat, packet.attrs],
]);

interface Inode {
  data: Buffer;
}

export class SftpTable {
  readonly files: Map<string, Inode>;
  readonly directories: Set<string>;
  /** What was asked, `REQUEST PATH`, hidden names without their random end. */
  readonly seen: string[] = [];
  /** Answers that are kept back while this is true. */
  holds = false;
  readonly #held: Buffer[] = [];
  readonly #options: TableOptions;
  readonly #far: Duplex;
  readonly #open = new Map<string, { readonly path: string; readonly inode: Inode }>();
  readonly #closed: number[] = [];
  #fresh = 0;

  private constructor(far: Duplex, options: TableOptions) {
    this.#far = far;
    this.#options = options;
    this.files = options.sharing?.files ?? new Map();
    this.directories = new Set(options.directories ?? ['/']);
    const splitter = new PacketSplitter();
    far.on('data', (chunk: Buffer) => {
      for (const bytes of splitter.push(chunk)) this.#work(bytes[0] ?? 0, new FieldReader(bytes.subarray(1)));
    });
  }

  static async start(options: TableOptions = {}): Promise<{ server: SftpTable; session: SftpSession }> {
    const [near, far] = duplexPair();
    const server = new SftpTable(far, options);
    const reasonOfLoss = (): Error => new Error('lost');
    return { server, session: await SftpSession.open(near, { together: (write) => write(), reasonOfLoss }) };
  }

  get openHandles(): number {
    return this.#open.size;
  }

  /** Names that are shown, with their content. */
  get shown(): Record<string, string> {
    const all = [...this.files].filter(([path]) => !posix.basename(path).startsWith('.'));
    return Object.fromEntries(all.map(([path, { data }]) => [path, data.toString('latin1')]));
  }

  get hidden(): string[] {
    return [...this.files.keys()].filter((path) => posix.basename(path).startsWith('.'));
  }

  /** Sends what was kept back, or only the first so many answers of it; then the others stay. */
  release(count?: number): void {
    this.holds = count !== undefined;
    for (const one of this.#held.splice(0, count ?? this.#held.length)) this.#far.write(one);
  }

  #answer(bytes: Buffer): void {
    if (this.holds) this.#held.push(bytes);
    else this.#far.write(bytes);
  }

  #work(type: number, fields: FieldReader): void {
    if (type === packet.init) {
      const offered = ['posix-rename@openssh.com', 'fsync@openssh.com'].flatMap((name) => [text(name), text('1')]);
      this.#answer(encodePacket(packet.version, uint32(3), ...offered));
      return;
    }
    const id = uint32(fields.uint32());
    const given = this.#grant(type, fields);
    if (typeof given === 'number') this.#answer(encodePacket(packet.status, id, uint32(given), text('said'), text('')));
    else this.#answer(encodePacket(answerTo.get(type) ?? packet.handle, id, given));
  }

  /** The fields of the answer, or a status. */
  #grant(type: number, fields: FieldReader): Buffer | number {
    const extension = type === packet.extended ? fields.text() : '';
    const first = fields.bytes();
    const byHandle = handleRequests.has(type) || extension.startsWith('fsync');
    const opened = byHandle ? this.#open.get(first.toString('hex')) : undefined;
    const path = opened?.path ?? (byHandle ? '?' : first.toString());
    const request = Object.entries(packet).find(([, value]) => value === type)?.[0] ?? '?';
    const name = extension === '' ? request : (extension.split('@')[0] ?? '');
    this.seen.push(`${name} ${path.replace(/\.lockstepd-\w+$/, '')}`);
    const refused = this.#options.refuse?.(name, path);
    if (refused !== undefined) return refused;
    if (byHandle && !opened) return status.failure;
    if (type === packet.opendir) return this.#give(path, { data: Buffer.alloc(0) });
    if (type === packet.open) return this.#openFile(path, fields.uint32());
    if (type === packet.fstat && opened) return attributes({ size: opened.inode.data.length });
    if (type === packet.read && opened) return readFrom(opened.inode, fields, this.#options.mostRead);
    if (type === packet.write && opened) writeTo(opened.inode, fields);
    if (type === packet.fsetstat && opened) {
      const { size } = fields.attributes();
      if (size !== undefined) opened.inode.data = opened.inode.data.subarray(0, size);
    }
    if (type === packet.close) this.#close(first);
    if (type === packet.mkdir) this.directories.add(path);
    if (type === packet.remove && !this.files.delete(path)) return status.noSuchFile;
    if (name === 'posix-rename') return this.#rename(path, fields.text());
    return status.ok;
  }

  #openFile(path: string, flags: number): Buffer | number {
    if (!this.directories.has(posix.dirname(path))) return status.noSuchFile;
    const there = this.files.get(path);
    if (there && flags & openFlag.exclusive) return status.failure;
    if (!there && !(flags & openFlag.create)) return status.noSuchFile;
    const inode = there ?? { data: Buffer.alloc(0) };
    this.files.set(path, inode);
    return this.#give(path, inode);
  }

  #give(path: string, inode: Inode): Buffer {
    const { handles = 'openssh' } = this.#options;
    const number = (handles === 'openssh' ? this.#closed.pop() : undefined) ?? this.#fresh++;
    const handle = handles === 'names' ? Buffer.from(`file ${number}`) : uint32(number);
    this.#open.set(handle.toString('hex'), { path, inode });
    return text(handle);
  }

  #close(handle: Buffer): void {
    this.#open.delete(handle.toString('hex'));
    if (handle.length === 4) this.#closed.push(handle.readUInt32BE());
  }

  #rename(from: string, to: string): number {
    const inode = this.files.get(from);
    if (!inode) return status.noSuchFile;
    this.files.delete(from);
    this.files.set(to, inode);
    return status.ok;
  }
}

function readFrom({ data }: Inode, fields: FieldReader, most = Infinity): Buffer | number {
  const offset = fields.uint64();
  const length = Math.min(fields.uint32(), most);
  return offset >= data.length ? status.eof : text(data.subarray(offset, offset + length));
}

function writeTo(inode: Inode, fields: FieldReader): void {
  const offset = fields.uint64();
  const data = fields.bytes();
  const longer = Buffer.alloc(Math.max(inode.data.length, offset + data.length));
  inode.data.copy(longer);
  data.copy(longer, offset);
  inode.data = longer;
}
