/** Runs synchronous work that comes in pieces, and lets waiting input and timers have their turn between two of them. */

export async function inPieces<T>(work: Generator<void, T>): Promise<T> {
  for (;;) {
    const piece = work.next();
    if (piece.done === true) return piece.value;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
