/** How far a push is that looks at everything a mirror holds, as the first one does: kept in memory, for whoever watches. */
import { bytesOf, type Wave } from './transport.ts';

export interface PushProgress {
  readonly packages: number;
  readonly packagesTotal: number;
  readonly bytes: number;
  readonly bytesTotal: number;
  /** Wall time. */
  readonly startedAtMs: number;
}

export class ProgressMeter {
  #progress: PushProgress | null = null;
  /** Payload bytes of the page in hand. */
  #sent = 0;

  /** Null: no such push runs. */
  get now(): PushProgress | null {
    const { bytes = 0, bytesTotal = 0 } = this.#progress ?? {};
    return this.#progress && { ...this.#progress, bytes: Math.min(bytesTotal, bytes + this.#sent) };
  }

  begin(total: { readonly packages: number; readonly bytes: number }, startedAtMs: number): void {
    this.#sent = 0;
    this.#progress = { packages: 0, packagesTotal: total.packages, bytes: 0, bytesTotal: total.bytes, startedAtMs };
  }

  sent(bytes: number): void {
    if (this.#progress !== null) this.#sent += bytes;
  }

  /** These packages are at the mirror, be it that they were sent or that they were there. */
  there(files: Wave): void {
    if (this.#progress === null) return;
    const { packages, bytes } = this.#progress;
    this.#sent = 0;
    this.#progress = { ...this.#progress, packages: packages + files.length, bytes: bytes + bytesOf([files]) };
  }

  end(): void {
    this.#progress = null;
  }
}
