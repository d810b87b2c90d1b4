/** Remembers which packages an index has named, in a few dozen bytes for each, to find one that is named twice. */
import type { IndexEntry } from './entry.ts';

/** Per slot: 8 bytes of hash of the key, 20 bytes of identity, 8 bytes of size. A slot of zeros is free. */
const slotBytes = 36;
const identityBytes = 20;
const maxLoad = 0.8;

export class EntryTable {
  #capacity = 1024;
  #slots = Buffer.alloc(this.#capacity * slotBytes);
  readonly #slot = Buffer.alloc(slotBytes);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Notes an entry under its name, version and architecture. `conflict`: noted before with another identity or size. */
  add(entry: Pick<IndexEntry, 'name' | 'version' | 'arch' | 'identity' | 'size'>): 'new' | 'same' | 'conflict' {
    return this.addAs(`${entry.name}\0${entry.version}\0${entry.arch}`, entry);
  }

  /** As `add`, under a key of the caller's. Of a long identity the first 20 bytes count. */
  addAs(key: string, entry: Pick<IndexEntry, 'identity' | 'size'>): 'new' | 'same' | 'conflict' {
    if (this.#size + 1 > this.#capacity * maxLoad) this.#grow();
    const slot = this.#slot;
    writeHash(slot, key);
    const digest = entry.identity.slice(entry.identity.indexOf(':') + 1);
    slot.write(digest.slice(0, 2 * identityBytes), 8, 'hex');
    slot.writeDoubleLE(entry.size, 28);
    const at = this.#find(slot);
    if (!this.#isFree(at)) return slot.compare(this.#slots, at, at + slotBytes) === 0 ? 'same' : 'conflict';
    slot.copy(this.#slots, at);
    this.#size += 1;
    return 'new';
  }

  /** The offset of the slot that holds this key, or of the free one where it belongs. */
  #find(slot: Buffer): number {
    const [low, high] = [slot.readUInt32LE(0), slot.readUInt32LE(4)];
    for (let index = high % this.#capacity; ; index = (index + 1) % this.#capacity) {
      const at = index * slotBytes;
      if (this.#slots.readUInt32LE(at) === low && this.#slots.readUInt32LE(at + 4) === high) return at;
      if (this.#isFree(at)) return at;
    }
  }

  #isFree(at: number): boolean {
    return this.#slots.readUInt32LE(at) === 0 && this.#slots.readUInt32LE(at + 4) === 0;
  }

  #grow(): void {
    const old = this.#slots;
    this.#capacity *= 2;
    this.#slots = Buffer.alloc(this.#capacity * slotBytes);
    for (let at = 0; at < old.length; at += slotBytes) {
      const slot = old.subarray(at, at + slotBytes);
      if (slot.readUInt32LE(0) !== 0 || slot.readUInt32LE(4) !== 0) slot.copy(this.#slots, this.#find(slot));
    }
  }
}

/**
 * Two 32-bit hashes of the text. Nothing hangs on their strength: two keys that collide make the index be refused, which
 * harms only the one who signed it.
 */
function writeHash(slot: Buffer, text: string): void {
  let [a, b] = [0x9e3779b9, 0x85ebca6b];
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x5bd1e995) ^ (b >>> 15);
  }
  a ^= a >>> 16;
  slot.writeUInt32LE((a | 1) >>> 0, 0);
  slot.writeUInt32LE(b >>> 0, 4);
}
