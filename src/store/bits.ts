/** A set of small whole numbers, an eighth of a byte each: row ids, where a Set would cost forty. */

export class Bits {
  #bytes = new Uint8Array(1024);

  /** `n` is a whole number from 0. */
  add(n: number): void {
    const at = Math.floor(n / 8);
    if (at >= this.#bytes.length) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(at + 1)));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[at] = (this.#bytes[at] ?? 0) | (1 << (n % 8));
  }

  has(n: number): boolean {
    return ((this.#bytes[Math.floor(n / 8)] ?? 0) & (1 << (n % 8))) !== 0;
  }
}
