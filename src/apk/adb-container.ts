/** Takes the compression off a v3 file as it streams by: `ADB.` plain, `ADBd` deflate, `ADBc` with a named algorithm. */
import { constants, createInflateRaw, createZstdDecompress, type InflateRaw, type ZstdDecompress } from 'node:zlib';
import { FormatError } from '../errors.ts';
import { ZstdFrame } from './adb-zstd.ts';
import { limits } from './limits.ts';

export interface ContainerOptions {
  /** Plain bytes after which the file is refused: a bomb. */
  readonly cap: number;
  /** Takes the plain file, from its `ADB.` on; a piece is only valid during the call. */
  readonly onBytes: (bytes: Buffer) => void;
}

type Codec = 'none' | 'deflate' | 'zstd';

const pieceBytes = 64 * 1024;

/** One file. Its compressed stream must be the only one and must reach exactly to the end. */
export class AdbContainer implements Disposable {
  readonly #options: ContainerOptions;
  #start: Buffer = Buffer.alloc(0);
  #codec: Codec | undefined;
  #stream: Decompressor | undefined;
  #frame: ZstdFrame | undefined;
  #given = 0;

  constructor(options: ContainerOptions) {
    this.#options = options;
  }

  /**
   * Takes the next bytes, which must stay as they are until this settles. Throws ADB_COMPRESSION for an unknown or damaged
   * compression, FORMAT_TRAILING for bytes after its stream, LIMIT over the cap, and whatever `onBytes` throws.
   */
  async push(chunk: Buffer): Promise<void> {
    if (this.#codec !== undefined) return this.#decompress(chunk, this.#codec);
    const bytes = this.#start.length === 0 ? chunk : Buffer.concat([this.#start, chunk]);
    const head = readContainerHead(bytes);
    if (head === undefined) {
      this.#start = Buffer.from(bytes);
      return undefined;
    }
    this.#codec = head.codec;
    if (head.codec === 'zstd') this.#frame = new ZstdFrame();
    if (head.codec !== 'none') this.#stream = new Decompressor(head.codec, (piece) => this.#give(piece));
    return this.#decompress(bytes.subarray(head.length), head.codec);
  }

  /** After the last byte: throws TRUNCATED when the compressed stream has not ended. */
  async finish(): Promise<void> {
    const whole = this.#codec === 'zstd' ? this.#frame?.ended : this.#codec === 'none' || (await this.#stream?.ends());
    if (whole !== true) throw new FormatError('TRUNCATED', 'the file ends within its compressed stream');
  }

  [Symbol.dispose](): void {
    this.#stream?.[Symbol.dispose]();
  }

  async #decompress(chunk: Buffer, codec: Codec): Promise<void> {
    if (chunk.length === 0) return;
    if (codec === 'none') {
      this.#give(chunk);
      return;
    }
    const mine = this.#frame === undefined ? chunk : chunk.subarray(0, this.#frame.push(chunk));
    const taken = mine.length === 0 ? 0 : await this.#stream?.push(mine);
    if (taken !== chunk.length) throw new FormatError('FORMAT_TRAILING', 'bytes follow the compressed stream');
  }

  #give(bytes: Buffer): void {
    this.#given += bytes.length;
    if (this.#given > this.#options.cap)
      throw new FormatError('LIMIT', `a v3 file of more than ${this.#options.cap} bytes uncompressed`);
    this.#options.onBytes(bytes);
  }
}

/** The schema word of the file that begins with `start`, as far as that shows it. Throws as `AdbContainer.push` does. */
export async function peekSchema(start: Buffer): Promise<string> {
  let plain: Buffer = Buffer.alloc(0);
  using container = new AdbContainer({
    cap: Number.POSITIVE_INFINITY,
    onBytes: (bytes) => {
      if (plain.length < 8) plain = Buffer.concat([plain, bytes.subarray(0, 8)]);
    },
  });
  await container.push(start);
  return plain.toString('latin1', 4, 8);
}

/** How the file is compressed and where that begins; `undefined` when more bytes are needed. The plain form keeps its magic. */
function readContainerHead(bytes: Buffer): { readonly codec: Codec; readonly length: number } | undefined {
  if (bytes.length < 4) return undefined;
  const magic = bytes.toString('latin1', 0, 4);
  if (magic === 'ADB.') return { codec: 'none', length: 0 };
  if (magic === 'ADBd') return { codec: 'deflate', length: 4 };
  if (magic !== 'ADBc') throw new FormatError('ADB_COMPRESSION', `unknown container ${JSON.stringify(magic)}`);
  if (bytes.length < 6) return undefined;
  const codec = (['none', 'deflate', 'zstd'] as const)[bytes.readUInt8(4)];
  if (codec === undefined)
    throw new FormatError('ADB_COMPRESSION', `unknown compression algorithm ${bytes.readUInt8(4)}`);
  return { codec, length: 6 };
}

class Decompressor implements Disposable {
  readonly #engine: InflateRaw | ZstdDecompress;
  #failure: Error | undefined;
  #closed = false;

  constructor(codec: 'deflate' | 'zstd', onBytes: (bytes: Buffer) => void) {
    this.#engine =
      codec === 'deflate'
        ? createInflateRaw({ chunkSize: pieceBytes })
        : createZstdDecompress({
            chunkSize: pieceBytes,
            params: { [constants.ZSTD_d_windowLogMax]: limits.zstdWindowLog },
          });
    this.#engine.on('data', (bytes: Buffer) => {
      if (this.#failure !== undefined) return;
      try {
        onBytes(bytes);
      } catch (error) {
        this.#fail(error);
      }
    });
    this.#engine.on('error', (error) => {
      const truncated = 'code' in error && error.code === 'Z_BUF_ERROR';
      this.#fail(
        truncated
          ? new FormatError('TRUNCATED', 'the file ends within its compressed stream')
          : new FormatError('ADB_COMPRESSION', `damaged ${codec} data`),
      );
    });
    this.#engine.on('close', () => {
      this.#closed = true;
    });
  }

  /** Returns how many bytes belong to the stream. */
  async push(chunk: Buffer): Promise<number> {
    if (this.#closed) return 0;
    const before = this.#engine.bytesWritten;
    await new Promise<void>((resolve) => {
      // At the end of a stream with input left over there is no answer but the closing.
      this.#engine.once('close', resolve);
      this.#engine.write(chunk, () => {
        this.#engine.off('close', resolve);
        resolve();
      });
    });
    if (this.#failure !== undefined) throw this.#failure;
    return this.#engine.bytesWritten - before;
  }

  /** After the last byte: true when the stream is whole; throws what is wrong with it otherwise. */
  async ends(): Promise<boolean> {
    if (!this.#closed) {
      await new Promise<void>((resolve) => {
        this.#engine.once('close', resolve);
        this.#engine.end();
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
    return true;
  }

  [Symbol.dispose](): void {
    this.#engine.destroy();
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    this.#engine.destroy();
  }
}
