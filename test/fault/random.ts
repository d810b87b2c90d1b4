/** Chance that is the same for the same seed. */

/** xorshift32: numbers from 0 up to 1. `seed` must not be 0. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
