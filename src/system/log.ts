/** The log: one event a line on stdout, JSON for files and journald (there with its priority), short text on a terminal. Text from outside is escaped. */
import pino from 'pino';
import { toInstant } from './instant.ts';
import { withPriority } from './journal.ts';

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined | readonly string[]>>;

export interface Log {
  /** `event` is a stable name in snake case; what varies goes into the fields. */
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** A log whose level can be changed while it is in use. */
export interface LeveledLog extends Log {
  setLevel(level: LogLevel): void;
}

/** A log that writes to file descriptor 1, or, for a command, in the words of a terminal where that writes. */
export function createLog(options: {
  readonly level: LogLevel;
  readonly terminal: boolean;
  readonly write?: (text: string) => void;
  /** Stdout is the journal of systemd. */
  readonly journal?: boolean;
}): LeveledLog {
  const { level, terminal, journal = false, write } = options;
  const toStdout = (text: string): void => void process.stdout.write(text);
  const logger = terminal || write ? terminalLogger(level, write ?? toStdout) : jsonLogger(level, journal);
  return {
    debug: (event, fields) => logger.debug({ event, ...fields }),
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
    error: (event, fields) => logger.error({ event, ...fields }),
    setLevel: (changed) => void (logger.level = changed),
  };
}

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

const base = {
  base: null,
  formatters: { level: (label: string) => ({ level: label }) },
  timestamp: () => `,"time":"${new Date().toISOString()}"`,
};

function jsonLogger(level: string, journal: boolean): pino.Logger {
  const destination = pino.destination({ fd: 1, sync: true });
  return pino(
    { ...base, level },
    {
      write: (line: string) => {
        // The end of the line is the one control character that JSON does not spell out itself and that must stay.
        const text = escapeJson(line, { lines: true });
        destination.write(journal ? withPriority(/^\{"level":"([a-z]+)"/.exec(line)?.[1] ?? '', text) : text);
      },
    },
  );
}

function terminalLogger(level: string, write: (text: string) => void): pino.Logger {
  return pino(
    { ...base, level },
    {
      write: (line: string) => {
        write(`${formatTerminalLine(JSON.parse(line) as Record<string, unknown>)}\n`);
      },
    },
  );
}

/** One log record as a line for people: time, level, event, then `key=value` with everything unusual escaped. */
export function formatTerminalLine(record: Readonly<Record<string, unknown>>): string {
  const { level, time, event, ...fields } = record;
  const at = toInstant(Date.parse(String(time))).slice(11, 19);
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${quote(value)}`);
  return [at, String(level).toUpperCase().padEnd(5), String(event), ...rest].join(' ');
}

function quote(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[\w./:@+-]+$/.test(text) ? text : escapeText(JSON.stringify(text));
}

/**
 * Text from outside made safe for a terminal or a one-line report: control characters, bidirectional overrides, line
 * separators and lone surrogates become `\u{..}`; everything else stays.
 */
export function escapeText(text: string): string {
  return text.replace(unsafe, (c) => `\\u{${c.codePointAt(0)?.toString(16) ?? ''}}`);
}

const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const unsafeInLines = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * JSON text in which the same characters, of which JSON itself only spells out the first 32, are `\uXXXX`: it stands for the same
 * value. `lines`: the text has several lines, whose ends stay.
 */
export function escapeJson(json: string, options: { readonly lines?: boolean } = {}): string {
  const units = (c: string): string =>
    Array.from({ length: c.length }, (_, i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, '0')}`).join('');
  return json.replace(options.lines === true ? unsafeInLines : unsafe, units);
}
