/** Runs lockstepd in a real pseudo-terminal, by script(1), and sees what it writes there. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const main = resolve(import.meta.dirname, '../../src/main.ts');

export const hasScript = existsSync('/usr/bin/script');

export class Terminal implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #output = '';

  constructor(
    args: readonly string[],
    { columns = 100, rows = 30, env = {} }: { columns?: number; rows?: number; env?: Record<string, string> } = {},
  ) {
    const quoted = args.map((arg) => `'${arg}'`).join(' ');
    const line = `stty cols ${columns} rows ${rows}; exec ${process.execPath} ${main} ${quoted}`;
    const { NO_COLOR: _, ...inherited } = process.env;
    this.#child = spawn('script', ['-qefc', line, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...inherited, TERM: 'xterm', ...env },
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    this.#ended = new Promise((done) => this.#child.once('close', (code) => done(code)));
  }

  /** Everything that was written so far. */
  get output(): string {
    return this.#output;
  }

  async until(what: RegExp | ((output: string) => boolean), timeoutMs = 20_000): Promise<void> {
    const holds = (): boolean => (typeof what === 'function' ? what(this.#output) : what.test(this.#output));
    const deadline = performance.now() + timeoutMs;
    while (!holds()) {
      if (performance.now() > deadline)
        throw new Error(`waited for ${String(what)}, got ${JSON.stringify(this.#output.slice(-4000))}`);
      await sleep(20);
    }
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** The exit code of the command, once it has ended. */
  ended(): Promise<number | null> {
    return this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** The lines that stand on a screen of its own after its last redraw, without colours. */
export function lastScreen(output: string): string[] {
  const [drawn = ''] = output.split('\x1b[?1049l').slice(0, 1);
  const last = drawn.split('\x1b[H').at(-1) ?? '';
  return withoutColours((last.split('\x1b[J')[0] ?? '').replaceAll('\x1b[K', '')).split(/\r+\n/);
}

export function withoutColours(text: string): string {
  return text
    .split('\x1b[')
    .map((part, i) => (i === 0 ? part : part.replace(/^[\d;]*m/, '')))
    .join('');
}
