/** Draws the lag of a mirror over time as a small line of steps. Pure. */

/** Height of the drawing; a lag of a day or more reaches its top. */
const height = 14;
const topSeconds = 86_400;

/**
 * An SVG path of lags in seconds, oldest first (null: not known, a gap): each `pieces` of them are one step, as high as the largest,
 * `stepWidth` wide. Heights are logarithmic and the same for every mirror, so that a minute, a quarter of an hour and a day can
 * all be seen. The drawing is 15 high.
 */
export function sparklinePath(lags: readonly (number | null)[], pieces: number, stepWidth: number): string {
  const heights = Array.from({ length: Math.ceil(lags.length / pieces) }, (_, i) => {
    const worst = worstLag(lags.slice(i * pieces, (i + 1) * pieces));
    return worst === null ? null : heightOf(worst);
  });
  let path = '';
  for (let i = 0; i < heights.length; ) {
    const level = heights[i] ?? null;
    let end = i + 1;
    while (end < heights.length && heights[end] === level) end++;
    const before = i === 0 ? null : (heights[i - 1] ?? null);
    if (level !== null) {
      const y = height - level;
      path += `${before === null ? `M${i * stepWidth} ${y}` : `V${y}`}h${(end - i) * stepWidth}`;
    }
    i = end;
  }
  return path;
}

/** The largest that is known; null when none is. */
export function worstLag(lags: readonly (number | null)[]): number | null {
  const known = lags.filter((lag) => lag !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function heightOf(seconds: number): number {
  if (seconds <= 0) return 0;
  const part = Math.log1p(seconds / 60) / Math.log1p(topSeconds / 60);
  return Math.max(1, Math.round(Math.min(1, part) * (height - 1)));
}
