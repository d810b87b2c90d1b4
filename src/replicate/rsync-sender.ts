/**
 * Brings waves of files to the rsync at the other end of a channel in one run, as no rsync program does: a wave begins only
 * when that rsync has said of each file before it that it lies under its name.
 */
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';
import { Wake } from '../system/limit.ts';
import type { SshCommand } from '../system/ssh.ts';
import { FrameReader, StreamEnded } from './rsync-frames.ts';
import {
  fileList,
  frame,
  int32,
  itemBasisFollows,
  itemNameFollows,
  itemTransfer,
  type ListedDirectory,
  listOf,
  message,
  NdxReader,
  NdxWriter,
  ndxDone,
  oldestProtocol,
  protocolVersion,
  type SumHead,
  sumHead,
  varint,
  varintExtra,
  weakSum,
} from './rsync-wire.ts';
import { openSource, QuickReads, readSource } from './source.ts';
import type { Pace, PushFile, Wave } from './transport.ts';

export interface SendRun {
  readonly remote: SshCommand;
  readonly sourceRoot: string;
  readonly waves: readonly Wave[];
  /** The last wave waits for it; when it rejects, the run does. */
  readonly gate?: Promise<void> | undefined;
  readonly pace?: Pace | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told of bytes of files that go out, and with 0 of other signs of life. */
  readonly onBytes: (bytes: number) => void;
  /** The rsync there gives up when it hears nothing for so long. */
  readonly timeoutMs: number;
}

export interface SendResult {
  /** As an rsync of ours would have ended: 0, 23 when the other one could not take something, its code or 12 when it ended early, null when nobody knows why. */
  readonly code: number | null;
  /** What the other one told us, and what it said on stderr: the last 16 KiB of each. */
  readonly said: string;
  readonly remoteStderr: string;
  readonly remoteCode: number | null;
  /** What it asked for and got. */
  readonly taken: ReadonlySet<string>;
}

/** What the generator there says of a file: it is to be said again, with the content if that is wanted. */
interface Request {
  readonly ndx: number;
  /** The flags and what follows them. */
  readonly attributes: Buffer;
  readonly wants: Wants | null;
}

interface Wants {
  readonly sums: SumHead;
  readonly blocks: readonly { readonly weak: number; readonly strong: Buffer }[];
}

const textLimit = 16 * 1024;
/** A file up to this size goes out in one piece; longer ones in pieces of this size. */
const pieceBytes = 256 * 1024;
/** Two ends of phases are answered as they come, a third one ends the transfer. */
const phases = 2;
/** The generator splits a file in blocks of at least 700 bytes; what is pushed here is no larger than this in all. */
const mostBlocks = 1 << 20;

/** Runs until the other side has ended. Throws the signal's reason, what the gate rejects with, TransportError `vanished` for a source. */
export async function sendFiles(run: SendRun): Promise<SendResult> {
  return new Sender(run).run();
}

class Sender {
  readonly #run: SendRun;
  readonly #list: readonly (PushFile | ListedDirectory)[];
  /** By place in the list; null for a directory. */
  readonly #waveOf: readonly (number | null)[];
  readonly #reader: FrameReader;
  readonly #writer = new NdxWriter();
  readonly #quick: QuickReads;
  readonly #wake = new Wake();
  /** Asked for and not yet begun, by wave. */
  readonly #asked: Request[][];
  /** Sent, and not yet known to lie under its name, by wave. */
  readonly #pending: number[];
  readonly #taken = new Set<string>();
  readonly #confirmed = new Set<number>();
  #isAllAsked = false;
  /** Something was not taken: nothing more goes out, and the transfer comes to its end. */
  #failed = false;
  /** Nothing more can be said or heard. */
  #broken: Error | null = null;
  #onBroken: (() => void) | null = null;
  /** What is wrong with a file of ours. */
  #sourceError: unknown = null;
  #said = '';
  #stderr = '';
  #seed = 0;
  #wroteAtMs: number;

  constructor(run: SendRun) {
    this.#run = run;
    const waveOf = new Map(run.waves.flatMap((wave, n) => wave.map((file) => [file.path, n] as const)));
    this.#list = listOf(run.waves.flat());
    this.#waveOf = this.#list.map((one) => ('path' in one ? (waveOf.get(one.path) ?? null) : null));
    this.#asked = run.waves.map(() => []);
    this.#pending = run.waves.map(() => 0);
    this.#quick = new QuickReads(run.clock);
    this.#wroteAtMs = run.clock.monotonic();
    const { stream, stderr } = run.remote;
    this.#reader = new FrameReader(stream, {
      alive: () => run.onBytes(0),
      message: (kind, payload) => this.#heard(kind, payload),
    });
    stderr.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-textLimit);
    });
  }

  async run(): Promise<SendResult> {
    const { remote, signal } = this.#run;
    let code: number | null = 0;
    try {
      const working = this.#work();
      working.catch(() => {});
      await abortable(working, signal);
      remote.stream.end();
    } catch (error) {
      if (!(error instanceof StreamEnded)) {
        remote.end();
        throw error;
      }
      code = 12;
      remote.stream.end();
    }
    const remoteCode = await abortable(remote.closed, signal);
    if (this.#sourceError) throw this.#sourceError;
    if (code !== 0) code = remoteCode === 0 ? code : remoteCode;
    else if (this.#failed) code = 23;
    return { code, said: this.#said, remoteStderr: this.#stderr, remoteCode, taken: this.#taken };
  }

  async #work(): Promise<void> {
    // All that the other side has to know first, before it has said a word: what it may answer changes none of it.
    await this.#write([int32(protocolVersion), ...frame(message.data, fileList(this.#list))]);
    const version = (await this.#reader.read(4)).readInt32LE(0);
    if (version < oldestProtocol) throw this.#ended(`protocol version mismatch: ${version} is too old`);
    const [first = 0] = await this.#reader.read(1);
    varint(first, await this.#reader.read(varintExtra(first)));
    this.#seed = (await this.#reader.read(4)).readInt32LE(0);
    this.#reader.startFrames();
    const listening = this.#listen(Math.min(version, protocolVersion));
    const sending = this.#send();
    try {
      await Promise.all([listening, sending]);
    } catch (error) {
      // Neither goes on without the other.
      this.#broken = error as Error;
      this.#reader.fail(this.#broken);
      this.#wake.wake();
      this.#onBroken?.();
      await Promise.allSettled([listening, sending]);
      throw error;
    }
  }

  /** Everything that is asked for, in the order of the waves, up to the end of the first phase. */
  async #send(): Promise<void> {
    const { gate, waves } = this.#run;
    for (const [wave, asked] of this.#asked.entries()) {
      if (wave === waves.length - 1 && gate) await this.#passed(gate);
      for (;;) {
        if (this.#broken) throw this.#broken;
        const request = asked.shift();
        if (request) await this.#answer(request);
        else if (!this.#isAllAsked) await this.#woken();
        else if (!this.#failed && (this.#pending[wave] ?? 0) > 0 && wave < waves.length - 1) await this.#woken();
        else break;
      }
    }
    await this.#write(frame(message.data, this.#writer.bytes(ndxDone)));
  }

  /** Takes what is asked for; then the ends of the phases that follow. */
  async #listen(version: number): Promise<void> {
    const reader = new NdxReader();
    const next = (): Promise<number> => reader.next((count) => this.#reader.read(count));
    for (let phase = 0; phase <= phases; ) {
      const ndx = await next();
      if (ndx === ndxDone) {
        phase++;
        // The first end is answered by whoever sends: not before all has gone out.
        if (phase > 1) await this.#write(frame(message.data, this.#writer.bytes(ndxDone)));
        else this.#isAllAsked = true;
        this.#wake.wake();
        continue;
      }
      const request = await this.#request(ndx);
      const wave = this.#waveOf[ndx];
      if (wave === undefined || (wave === null && request.wants))
        throw this.#ended(`asks for file ${ndx} of ${this.#list.length}`);
      // What did not arrive as it was sent is asked for once more.
      if (phase > 0) await this.#answer(request);
      else {
        this.#asked[wave ?? 0]?.push(request);
        this.#wake.wake();
      }
    }
    for (let left = version >= 31 ? 2 : 1; left > 0; left--) {
      if ((await next()) !== ndxDone) throw this.#ended('does not end');
      if (left === 2) await this.#write(frame(message.data, this.#writer.bytes(ndxDone)));
    }
  }

  /** What stands behind the number of a file. */
  async #request(ndx: number): Promise<Request> {
    const parts = [await this.#reader.read(2)];
    const flags = parts[0]?.readUInt16LE(0) ?? 0;
    if (flags & itemBasisFollows) parts.push(await this.#reader.read(1));
    if (flags & itemNameFollows) {
      const [first = 0] = parts[parts.push(await this.#reader.read(1)) - 1] as Buffer;
      const low = first & 0x80 ? ((parts[parts.push(await this.#reader.read(1)) - 1] as Buffer)[0] ?? 0) : 0;
      parts.push(await this.#reader.read(first & 0x80 ? (first & 0x7f) * 256 + low : first));
    }
    const attributes = Buffer.concat(parts);
    if ((flags & itemTransfer) === 0) return { ndx, attributes, wants: null };
    const head = await this.#reader.read(16);
    const [count = 0, blockLength = 0, strongLength = 0, lastLength = 0] = [0, 4, 8, 12].map((at) =>
      head.readInt32LE(at),
    );
    if (count < 0 || count > mostBlocks || strongLength < 0 || strongLength > 64)
      throw this.#ended(`knows a file by ${count} sums of ${strongLength} bytes`);
    const blocks: Wants['blocks'][number][] = [];
    for (let left = count; left > 0; left--) {
      const sum = await this.#reader.read(4 + strongLength);
      blocks.push({ weak: sum.readUInt32LE(0), strong: sum.subarray(4) });
    }
    return { ndx, attributes, wants: { sums: { count, blockLength, strongLength, lastLength }, blocks } };
  }

  async #answer({ ndx, attributes, wants }: Request): Promise<void> {
    if (this.#failed && wants) return this.#write(frame(message.noSend, int32(ndx)));
    const again = Buffer.concat([this.#writer.bytes(ndx), attributes]);
    if (!wants) return this.#write(frame(message.data, again));
    await this.#sendFile(ndx, Buffer.concat([again, sumHead(wants.sums)]), wants);
  }

  async #sendFile(ndx: number, head: Buffer, wants: Wants): Promise<void> {
    const { pace, signal, sourceRoot } = this.#run;
    const { sums } = wants;
    const file = this.#list[ndx] as PushFile;
    const wave = this.#waveOf[ndx] ?? 0;
    const hash = createHash('md5');
    const end = (): Buffer => Buffer.concat([int32(0), hash.digest()]);
    const wait = async (bytes: number): Promise<void> => {
      await pace?.(bytes, { signal, onWait: () => this.#keepAlive() });
    };
    const whole = file.size <= pieceBytes ? Buffer.allocUnsafe(file.size) : null;
    let source: FileHandle | null;
    try {
      source = whole && this.#quick.read(sourceRoot, file, whole) ? null : await openSource(sourceRoot, file);
    } catch (error) {
      this.#sourceError = error;
      this.#failed = true;
      return this.#write(frame(message.noSend, int32(ndx)));
    }
    this.#taken.add(file.path);
    if (!this.#confirmed.has(ndx)) this.#pending[wave] = (this.#pending[wave] ?? 0) + 1;
    if (whole && !source) {
      await wait(whole.length);
      await this.#write(frame(message.data, Buffer.concat([head, ...this.#tokens(wants, whole, 0, hash), end()])));
      this.#run.onBytes(whole.length);
      return;
    }
    if (!source) return;
    try {
      await this.#write(frame(message.data, head));
      // Pieces end where blocks do.
      const step =
        sums.blockLength > 0 ? Math.max(1, Math.floor(pieceBytes / sums.blockLength)) * sums.blockLength : pieceBytes;
      for (let at = 0; at < file.size; at += step) {
        const piece = Buffer.allocUnsafe(Math.min(step, file.size - at));
        await readSource(source, piece, at, file);
        await wait(piece.length);
        await this.#write(frame(message.data, Buffer.concat(this.#tokens(wants, piece, at, hash))));
        this.#run.onBytes(piece.length);
      }
      await this.#write(frame(message.data, end()));
    } finally {
      await source.close();
    }
  }

  /** A piece as its blocks that are there already, each by its number, and the bytes of the rest. */
  #tokens({ sums, blocks }: Wants, piece: Buffer, offset: number, hash: Hash): Buffer[] {
    hash.update(piece);
    if (blocks.length === 0) return piece.length === 0 ? [] : [int32(piece.length), piece];
    const parts: Buffer[] = [];
    let from = 0;
    const flush = (to: number): void => {
      if (to > from) parts.push(int32(to - from), piece.subarray(from, to));
      from = to;
    };
    for (let at = 0; at < piece.length; at += sums.blockLength) {
      const n = (offset + at) / sums.blockLength;
      const block = piece.subarray(at, at + sums.blockLength);
      if (!this.#isBlock(block, n, sums, blocks[n])) continue;
      flush(at);
      parts.push(int32(-(n + 1)));
      from = at + block.length;
    }
    flush(piece.length);
    return parts;
  }

  #isBlock(block: Buffer, n: number, sums: SumHead, there: Wants['blocks'][number] | undefined): boolean {
    const isLast = n === sums.count - 1;
    const length = isLast && sums.lastLength !== 0 ? sums.lastLength : sums.blockLength;
    if (!there || block.length !== length || weakSum(block) !== there.weak) return false;
    const strong = createHash('md5');
    if (this.#seed !== 0) strong.update(int32(this.#seed));
    return strong.update(block).digest().subarray(0, there.strong.length).equals(there.strong);
  }

  #heard(kind: number, payload: Buffer): void {
    if (kind === message.success && payload.length >= 4) {
      const ndx = payload.readInt32LE(0);
      const [one, wave] = [this.#list[ndx], this.#waveOf[ndx]];
      if (!one || wave == null || this.#confirmed.has(ndx)) return;
      this.#confirmed.add(ndx);
      if ('path' in one && this.#taken.has(one.path)) this.#pending[wave] = (this.#pending[wave] ?? 0) - 1;
    } else if (kind === message.errorExit) this.#reader.fail(new StreamEnded('the rsync there gave up'));
    else if (kind === message.ioError) this.#failed = true;
    else if (
      kind === message.errorXfer ||
      kind === message.error ||
      kind === message.warning ||
      kind === message.errorSocket ||
      kind === message.errorUtf8
    ) {
      const text = payload.toString('utf8');
      this.#said = (this.#said + text).slice(-textLimit);
      // What was damaged on its way is asked for again when everything else is done, and that never is while a wave waits.
      this.#failed ||= kind !== message.warning || text.includes('failed verification');
    } else return;
    this.#wake.wake();
  }

  #ended(what: string): StreamEnded {
    this.#said = (this.#said + `rsync there ${what}\n`).slice(-textLimit);
    return new StreamEnded(what);
  }

  async #woken(): Promise<void> {
    await this.#wake.wait((stop) => this.#run.clock.sleep(this.#run.timeoutMs, { signal: stop }));
  }

  /** Waits for `gate` without being taken for dead. */
  async #passed(gate: Promise<void>): Promise<void> {
    const { clock, timeoutMs } = this.#run;
    let isOpen = false;
    const opening = gate.then(() => {
      isOpen = true;
      this.#wake.wake();
    });
    // Told below, or by whoever made it when this run ends before.
    opening.catch(() => this.#wake.wake());
    while (!isOpen && !this.#failed && !this.#broken) {
      await Promise.race([opening, this.#wake.wait((stop) => clock.sleep(timeoutMs / 3, { signal: stop }))]);
      this.#keepAlive();
    }
  }

  #keepAlive(): void {
    const { clock, onBytes, remote, timeoutMs } = this.#run;
    onBytes(0);
    if (clock.monotonic() - this.#wroteAtMs < timeoutMs / 4) return;
    this.#wroteAtMs = clock.monotonic();
    for (const part of frame(message.data, Buffer.alloc(0))) remote.stream.write(part);
  }

  async #write(parts: readonly Buffer[]): Promise<void> {
    const { stream } = this.#run.remote;
    this.#wroteAtMs = this.#run.clock.monotonic();
    if (this.#broken) throw this.#broken;
    if (stream.destroyed || stream.writableEnded) throw new StreamEnded('the channel is closed');
    if (stream.write(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts))) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off('drain', done).off('close', done);
        resolve();
      };
      stream.on('drain', done).on('close', done);
      // Whoever reads has heard of the end first.
      this.#onBroken = done;
    });
    this.#onBroken = null;
    if (this.#broken) throw this.#broken;
  }
}
