/** The client's end of one SFTP session: any number of requests in flight, each answer goes to its request. It decides nothing about files. */
import type { Duplex } from 'node:stream';
import { HandleForecast } from './ssh-sftp-handles.ts';
import { SftpOutbox } from './ssh-sftp-outbox.ts';
import {
  attributes,
  encodePacket,
  encodeWrite,
  FieldReader,
  PacketSplitter,
  packet,
  type SftpAttributes,
  SftpStatusError,
  status,
  text,
  uint32,
  uint64,
  type WriteBlock,
} from './ssh-sftp-wire.ts';

export interface SftpEntry {
  readonly name: string;
  readonly attributes: SftpAttributes;
}

/** The server gives its handles in another order than was thought. */
export class UnforeseenHandleError extends Error {
  constructor(path: string) {
    super(`${path}: another handle than foretold`);
    this.name = 'UnforeseenHandleError';
  }
}

/** A file that was asked for and is used before the answer. */
export interface ForetoldFile {
  readonly handle: Buffer;
  /** Rejects with SftpStatusError when the server refuses, and with UnforeseenHandleError when it gave another handle, which is closed then. */
  readonly opened: Promise<void>;
}

/** What the other side's file system has left, from statvfs@openssh.com. */
export interface SftpSpace {
  readonly freeBytes: number;
  readonly freeFiles: number;
  readonly readOnly: boolean;
}

interface Pending {
  readonly request: string;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

interface Answer {
  readonly type: number;
  readonly fields: FieldReader;
}

/**
 * Requests go out in the order of the calls; small ones of one turn of the event loop leave together. Every method rejects with
 * SftpStatusError when the other side refuses, and with the reason of the loss when the session ends.
 */
export class SftpSession {
  /** Extensions that the server offers, by name. */
  readonly extensions: ReadonlyMap<string, string>;
  /** Most bytes of data in one write. */
  readonly maxWriteBytes: number;
  readonly #channel: Duplex;
  readonly #pending = new Map<number, Pending>();
  readonly #splitter: PacketSplitter;
  readonly #forecast = new HandleForecast();
  readonly #outbox: SftpOutbox;
  readonly #closes = new Set<Promise<unknown>>();
  #nextId = 1;
  #lost: Error | undefined;
  #lostInUse = false;

  private constructor(channel: Duplex, options: SftpSessionOptions, splitter: PacketSplitter, hello: FieldReader) {
    this.#channel = channel;
    this.#outbox = new SftpOutbox(channel, options.together);
    this.#splitter = splitter;
    const extensions = new Map<string, string>();
    while (hello.left > 0) extensions.set(hello.text(), hello.text());
    this.extensions = extensions;
    // A server that tells its limits is OpenSSH, which takes packets of 256 KiB; every server takes 32 KiB of data (section 3).
    this.maxWriteBytes = extensions.has('limits@openssh.com') ? 255 * 1024 : 32 * 1024;
    channel.on('data', (chunk: Buffer) => this.#receive(chunk));
    channel.once('close', () => this.#lose(options.reasonOfLoss()));
  }

  /** Says hello on a fresh channel of the `sftp` subsystem and waits for the server's answer. */
  static async open(channel: Duplex, options: SftpSessionOptions): Promise<SftpSession> {
    const splitter = new PacketSplitter();
    const hello = await new Promise<Buffer>((resolve, reject) => {
      channel.on('error', () => {});
      channel.once('close', () => reject(new Error('not an SFTP server: it ended the session at once')));
      channel.on('data', function greet(chunk: Buffer) {
        try {
          const [first] = splitter.push(chunk);
          if (first === undefined) return;
          channel.off('data', greet);
          channel.pause();
          resolve(first);
        } catch (error) {
          reject(error);
        }
      });
      channel.write(encodePacket(packet.init, uint32(3)));
    });
    const fields = new FieldReader(hello.subarray(1));
    if (hello[0] !== packet.version || fields.uint32() < 3) throw new RangeError('not an SFTP version 3 server');
    const session = new SftpSession(channel, options, splitter, fields);
    channel.resume();
    return session;
  }

  /** True once the session has ended. */
  get ended(): boolean {
    return this.#lost !== undefined;
  }

  /** True once the session has ended with requests in flight. */
  get endedInUse(): boolean {
    return this.#lostInUse;
  }

  /** Opens a file, `flags` from `openFlag`; resolves to its handle. */
  open(path: string, flags: number, permissions: number): Promise<Buffer> {
    return this.#open(`open ${path}`, packet.open, text(path), uint32(flags), attributes({ permissions }));
  }

  /** True when the handle of the next file can be foretold. */
  get foretells(): boolean {
    return this.#forecast.next() !== undefined;
  }

  /**
   * Opens a file and says at once which handle it will have. Nothing that was asked with it counts before `opened` has resolved.
   * Throws UnforeseenHandleError when the handle cannot be foretold.
   */
  openForetold(path: string, flags: number, permissions: number): ForetoldFile {
    const handle = this.#forecast.next();
    if (handle === undefined) throw new UnforeseenHandleError(path);
    const opened = this.open(path, flags, permissions).then((given) => {
      if (given.equals(handle)) return;
      this.close(given).catch(() => {});
      throw new UnforeseenHandleError(path);
    });
    return { handle, opened };
  }

  /**
   * Writes the block's data; its memory must stay untouched until `onTaken` is called, once and at the latest when the promise
   * settles: then the data has left, encrypted, while the answer is still to come.
   */
  async write(handle: Buffer, offset: number, block: WriteBlock, onTaken: () => void): Promise<void> {
    let taken = false;
    const take = (): void => {
      if (!taken) onTaken();
      taken = true;
    };
    try {
      expectOk(await this.#send('write', (id) => encodeWrite(id, handle, offset, block), take));
    } finally {
      take();
    }
  }

  async setHandleAttributes(handle: Buffer, value: SftpAttributes): Promise<void> {
    expectOk(await this.#ask('fsetstat', packet.fsetstat, text(handle), attributes(value)));
  }

  async setAttributes(path: string, value: SftpAttributes): Promise<void> {
    expectOk(await this.#ask(`setstat ${path}`, packet.setstat, text(path), attributes(value)));
  }

  /** fsync@openssh.com */
  async sync(handle: Buffer): Promise<void> {
    expectOk(await this.#ask('fsync', packet.extended, text('fsync@openssh.com'), text(handle)));
  }

  async close(handle: Buffer): Promise<void> {
    const step = this.#forecast.closing(handle);
    const answer = this.#ask('close', packet.close, text(handle));
    this.#closes.add(answer);
    try {
      expectOk(await answer);
      this.#forecast.closed(step);
    } catch (error) {
      this.#forecast.refused(step);
      throw error;
    } finally {
      this.#closes.delete(answer);
    }
  }

  /** Resolves when the closes that were asked for are answered, good or bad: a handle whose close is refused is a file's still. */
  async closed(): Promise<void> {
    await Promise.allSettled(this.#closes);
  }

  /** posix-rename@openssh.com: replaces what bears the new name, in one step. */
  async rename(from: string, to: string): Promise<void> {
    const name = text('posix-rename@openssh.com');
    expectOk(await this.#ask(`rename to ${to}`, packet.extended, name, text(from), text(to)));
  }

  async remove(path: string): Promise<void> {
    expectOk(await this.#ask(`remove ${path}`, packet.remove, text(path)));
  }

  async makeDirectory(path: string, permissions: number): Promise<void> {
    expectOk(await this.#ask(`mkdir ${path}`, packet.mkdir, text(path), attributes({ permissions })));
  }

  /** Attributes of what `path` leads to, symbolic links followed. */
  async stat(path: string): Promise<SftpAttributes> {
    return attributesOf(await this.#ask(`stat ${path}`, packet.stat, text(path)));
  }

  /** Attributes of an open file. */
  async handleAttributes(handle: Buffer): Promise<SftpAttributes> {
    return attributesOf(await this.#ask('fstat', packet.fstat, text(handle)));
  }

  openDirectory(path: string): Promise<Buffer> {
    return this.#open(`opendir ${path}`, packet.opendir, text(path));
  }

  /** The next entries of an open directory (links not followed), or undefined after the last. */
  async readDirectory(handle: Buffer): Promise<SftpEntry[] | undefined> {
    let answer: Answer;
    try {
      answer = await this.#ask('readdir', packet.readdir, text(handle));
    } catch (error) {
      if (error instanceof SftpStatusError && error.status === status.eof) return undefined;
      throw error;
    }
    const { type, fields } = answer;
    if (type !== packet.name) throw new RangeError('SFTP answer of a wrong type');
    const entries: SftpEntry[] = [];
    for (let count = fields.uint32(); count > 0; count--) {
      const name = fields.text();
      fields.bytes();
      entries.push({ name, attributes: fields.attributes() });
    }
    return entries;
  }

  /** statvfs@openssh.com */
  async space(path: string): Promise<SftpSpace> {
    const answer = await this.#ask(`statvfs ${path}`, packet.extended, text('statvfs@openssh.com'), text(path));
    if (answer.type !== packet.extendedReply) throw new RangeError('SFTP answer of a wrong type');
    const numbers = Array.from({ length: 11 }, () => answer.fields.uint64());
    const [, fragment = 0, , , available = 0, , , freeFiles = 0, , flags = 0] = numbers;
    return { freeBytes: fragment * available, freeFiles, readOnly: (flags & 1) === 1 };
  }

  /** Data of an open file; empty at its end. */
  async read(handle: Buffer, offset: number, length: number): Promise<Buffer> {
    try {
      const { type, fields } = await this.#ask('read', packet.read, text(handle), uint64(offset), uint32(length));
      if (type !== packet.data) throw new RangeError('SFTP answer of a wrong type');
      return fields.bytes();
    } catch (error) {
      if (error instanceof SftpStatusError && error.status === status.eof) return Buffer.alloc(0);
      throw error;
    }
  }

  /** Ends the session; requests in flight are rejected. */
  end(): void {
    this.#channel.destroy();
  }

  async #open(request: string, type: number, ...fields: readonly Buffer[]): Promise<Buffer> {
    const step = this.#forecast.opening();
    try {
      const handle = handleOf(await this.#ask(request, type, ...fields));
      this.#forecast.opened(step, handle);
      return handle;
    } catch (error) {
      this.#forecast.refused(step);
      throw error;
    }
  }

  #ask(request: string, type: number, ...fields: readonly Buffer[]): Promise<Answer> {
    return this.#send(request, (id) => encodePacket(type, uint32(id), ...fields));
  }

  #send(request: string, encode: (id: number) => Buffer, onTaken?: () => void): Promise<Answer> {
    if (this.#lost) return Promise.reject(this.#lost);
    const id = this.#nextId;
    this.#nextId = (this.#nextId % 0xffffffff) + 1;
    const bytes = encode(id);
    const answer = new Promise<Answer>((resolve, reject) => this.#pending.set(id, { request, resolve, reject }));
    this.#outbox.push({ bytes, onTaken });
    return answer;
  }

  #receive(chunk: Buffer): void {
    try {
      for (const one of this.#splitter.push(chunk)) this.#answer(one);
    } catch (error) {
      this.#lose(error as Error);
      this.#channel.destroy();
    }
  }

  #answer(bytes: Buffer): void {
    const fields = new FieldReader(bytes.subarray(1));
    const id = fields.uint32();
    const pending = this.#pending.get(id);
    if (!pending) throw new RangeError('SFTP answer to no request');
    this.#pending.delete(id);
    const type = bytes[0] ?? 0;
    const code = type === packet.status ? fields.uint32() : status.ok;
    if (code === status.ok) pending.resolve({ type, fields });
    else pending.reject(new SftpStatusError(code, fields.left > 0 ? fields.text() : '', pending.request));
  }

  #lose(reason: Error): void {
    if (this.#lost) return;
    this.#lost = reason;
    this.#lostInUse = this.#pending.size > 0;
    this.#outbox.close();
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }
}

export interface SftpSessionOptions {
  /** Runs a function so that what it writes leaves in as few system calls as possible. */
  readonly together: (write: () => void) => void;
  /** Why the channel was closed, asked when it is. */
  readonly reasonOfLoss: () => Error;
}

function handleOf({ type, fields }: Answer): Buffer {
  if (type !== packet.handle) throw new RangeError('SFTP answer of a wrong type');
  return Buffer.from(fields.bytes());
}

function attributesOf({ type, fields }: Answer): SftpAttributes {
  if (type !== packet.attrs) throw new RangeError('SFTP answer of a wrong type');
  return fields.attributes();
}

function expectOk({ type }: Answer): void {
  if (type !== packet.status) throw new RangeError('SFTP answer of a wrong type');
}
