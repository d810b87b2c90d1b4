/** Shows a text again and again in the same place of a terminal, or one below the other where there is none. */
import { cut, paint } from '../observe/terminal.ts';
import { escapeText } from '../system/log.ts';
import type { Io } from './command.ts';

const enter = '\x1b[?1049h\x1b[?25l';
const leave = '\x1b[?25h\x1b[?1049l';

/** Whether to write colours: no-color.org, and terminals that know none. */
export function hasColours({ terminal, env }: Io): boolean {
  return terminal && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
}

/** Has a screen of its own, as pagers do: what stood on the terminal is there again when it ends, with the last text below it. */
export class Screen implements Disposable {
  readonly #io: Io;
  readonly #redraws: boolean;
  #shown: readonly string[] | null = null;

  /** `redraws` false: nothing is drawn in place, whatever the terminal can do. */
  constructor(io: Io, { redraws }: { readonly redraws: boolean }) {
    this.#io = io;
    this.#redraws = redraws && io.terminal && io.env.TERM !== 'dumb';
  }

  /** Shows `text`, and above it why it may be old. */
  show(text: string, problem: readonly string[]): void {
    const io = this.#io;
    const notice = problem.map((line) => (hasColours(io) ? paint(escapeText(line), 'bad') : escapeText(line)));
    const body = text === '' ? [] : text.trimEnd().split('\n');
    const lines = [...notice, ...(notice.length > 0 && body.length > 0 ? [''] : []), ...body];
    if (!this.#redraws) {
      io.out(`${this.#shown === null ? '' : '\n'}${lines.join('\n')}\n`);
      this.#shown = lines;
      return;
    }
    // One write of whole lines over the old ones: nothing is blank in between.
    const begin = this.#shown === null ? enter : '';
    const drawn = withinScreen(lines, io).map((line) => `${line}\x1b[K`);
    io.out(`${begin}\x1b[H${drawn.join('\r\n')}\x1b[J`);
    this.#shown = lines;
  }

  [Symbol.dispose](): void {
    if (!this.#redraws || this.#shown === null) return;
    this.#io.out(`${leave}${this.#shown.join('\n')}\n`);
  }
}

function withinScreen(lines: readonly string[], { columns = 80, rows = 24 }: Io): string[] {
  const most = Math.max(2, rows);
  const kept =
    lines.length <= most ? lines : [...lines.slice(0, most - 1), `… and ${lines.length - most + 1} more lines`];
  return kept.map((line) => cut(line, columns));
}
