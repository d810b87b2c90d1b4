/** Text for terminals: how wide it is, how it is cut, padded and coloured. Writes nothing. */

export type Paint = 'good' | 'warn' | 'bad' | 'dim';
const escapes: Readonly<Record<Paint, string>> = {
  good: '\x1b[32m',
  warn: '\x1b[33m',
  bad: '\x1b[31m',
  dim: '\x1b[2m',
};
const plain = '\x1b[0m';

export function paint(text: string, colour: Paint): string {
  return `${escapes[colour]}${text}${plain}`;
}

/** The columns that a text without escape sequences takes: wide characters two, combining ones none. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += widthOfChar(char);
  return width;
}

/** The text with spaces after it, up to `width` columns. */
export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}

/** The text in at most `width` columns: what is too long ends with `…`. Escape sequences of `paint` take no room and stay whole. */
export function cut(text: string, width: number): string {
  // oxlint-disable-next-line no-control-regex -- escape sequences are what is looked for
  const parts = text.split(/(\x1b\[[0-9;]*m)/);
  if (widthOf(parts.filter((_, i) => i % 2 === 0).join('')) <= width) return text;
  let left = Math.max(0, width - 1);
  let shown = '';
  for (const [i, part] of parts.entries()) {
    if (i % 2 === 1) {
      shown += part;
      continue;
    }
    for (const char of part) {
      left -= widthOfChar(char);
      if (left < 0) return `${shown}…${shown.includes('\x1b') && !shown.endsWith(plain) ? plain : ''}`;
      shown += char;
    }
  }
  return shown;
}

/** Wide and full-width blocks of Unicode's EastAsianWidth, and emoji: what terminals show in two columns. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;

function widthOfChar(char: string): number {
  if (/\p{M}/u.test(char)) return 0;
  return wide.test(char) ? 2 : 1;
}
