/** Takes a v3 index apart as it streams by: its container, and the blocks in it, of which none may be data. It verifies nothing else. */
import { FormatError } from '../errors.ts';
import { AdbBlockReader, type AdbHandler } from './adb-blocks.ts';
import { AdbContainer } from './adb-container.ts';
import { limits } from './limits.ts';

type OnBlock = Pick<AdbHandler, 'schema' | 'adb' | 'signature'>;

/** One file. Throws FORMAT_…, ADB_…, TRUNCATED, LIMIT, and what `on` throws. */
export class AdbIndexFile implements Disposable {
  readonly #blocks: AdbBlockReader;
  readonly #container: AdbContainer;

  constructor(on: OnBlock) {
    const handler: AdbHandler = {
      schema: (schema) => on.schema(schema),
      adb: (bytes) => on.adb(bytes),
      signature: (block) => on.signature(block),
      beginData: () => {
        throw new FormatError('ADB_BLOCK', 'a DATA block in an index');
      },
      content: unreachable,
      endData: unreachable,
    };
    this.#blocks = new AdbBlockReader(handler, limits.adbIndexBytes);
    this.#container = new AdbContainer({ cap: limits.indexBytes, onBytes: (bytes) => this.#blocks.push(bytes) });
  }

  /** Takes the next bytes, which must stay as they are until this settles. */
  async push(chunk: Buffer): Promise<void> {
    await this.#container.push(chunk);
  }

  async finish(): Promise<void> {
    await this.#container.finish();
    this.#blocks.finish();
  }

  [Symbol.dispose](): void {
    this.#container[Symbol.dispose]();
  }
}

function unreachable(): never {
  throw new Error('unreachable: an index has no data');
}
