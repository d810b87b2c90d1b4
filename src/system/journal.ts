/** Whether stdout is the journal of systemd, and the priority that it takes from the head of a line. */
import { fstatSync } from 'node:fs';

/** True when stdout is what `JOURNAL_STREAM` names by device and inode (systemd.exec(5)): not so once it was redirected. */
export function stdoutIsJournal({ JOURNAL_STREAM: stream }: Readonly<Record<string, string | undefined>>): boolean {
  if (stream === undefined) return false;
  const { dev, ino } = fstatSync(1, { bigint: true });
  return stream === `${dev}:${ino}`;
}

/** Levels of syslog(3), which sd-daemon(3) reads from `<N>` at the head of a line. */
const priorities: Readonly<Record<string, number>> = { debug: 7, info: 6, warn: 4, error: 3 };

/** The line of a record of that level as the journal takes it; the prefix is no part of what it keeps. */
export function withPriority(level: string, line: string): string {
  return `<${priorities[level] ?? 6}>${line}`;
}
