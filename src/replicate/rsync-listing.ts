/** The output of `rsync --list-only --no-h -8` under TZ=UTC as values. */
import type { RemoteFile } from './transport.ts';

/** Mode, size, date, time, name: `-rw-r--r--           5 2026/11/22 19:20:57 name` (rsync(1), --list-only). */
const entry = /^(-)[-rwxsStT]{9}\S*\s+(\d+) (\d{4})\/(\d\d)\/(\d\d) (\d\d):(\d\d):(\d\d) (.+)$/;

/** The regular files of a listing by name; other kinds of entries and lines that are none are left out. */
export function parseListing(output: Buffer): Map<string, RemoteFile> {
  const found = new Map<string, RemoteFile>();
  // One character a byte, so that escapes and UTF-8 can be put together again byte by byte.
  for (const row of output.toString('latin1').split('\n')) {
    const match = entry.exec(row);
    if (!match) continue;
    const [size, year, month, day, hours, minutes, seconds] = match.slice(2, 9).map(Number) as Numbers;
    const mtimeSeconds = Date.UTC(year, month - 1, day, hours, minutes, seconds) / 1000;
    found.set(unescapeName(match[9] ?? ''), { size, mtimeSeconds });
  }
  return found;
}
type Numbers = [number, number, number, number, number, number, number];

/** rsync writes a control character as `\#` and three octal digits, and so a backslash that would look like one. */
export function unescapeName(name: string): string {
  const bytes = name.replace(/\\#([0-3][0-7]{2})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
