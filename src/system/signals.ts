/**
 * The signals of the process, taken from the first moment on: what comes before somebody listens is kept. Imported for its
 * effect, before anything else, by the process only.
 */
const stop = new AbortController();
const hurry = new AbortController();
let hangUps = 0;
let onHangUp: (() => void) | null = null;

/** Aborted by the first SIGINT or SIGTERM. */
export const stopSignal = stop.signal;
/** Aborted by the second one: whoever stops must not wait any more. */
export const stopNowSignal = hurry.signal;

for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.on(name, () => {
    if (stop.signal.aborted) hurry.abort(new DOMException(name, 'AbortError'));
    else stop.abort(new DOMException(name, 'AbortError'));
  });

// Whoever runs another command and closes the terminal wants it to end.
if (process.argv[2] === 'run')
  process.on('SIGHUP', () => {
    if (onHangUp === null) hangUps++;
    else onHangUp();
  });

/** From now on `listener` is called at each SIGHUP; once at once for those that came before. Until disposed. */
export function listenToHangUps(listener: () => void): Disposable {
  onHangUp = listener;
  const kept = hangUps;
  hangUps = 0;
  if (kept > 0) listener();
  return { [Symbol.dispose]: () => void (onHangUp = null) };
}
