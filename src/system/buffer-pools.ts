/** Decides how much memory Node takes at a time for small buffers. */
import { Buffer } from 'node:buffer';

/**
 * From this size on glibc maps a block by itself, where the service sets MALLOC_MMAP_THRESHOLD_ so. Node's own 64 KiB lie in an
 * arena of malloc, which only grows: a pool lives as long as its last buffer, and leaves a hole.
 */
export const poolBytes = 128 * 1024;

/** Call it first in each thread that makes many small buffers. */
export function mapBufferPools(): void {
  Buffer.poolSize = poolBytes;
}
