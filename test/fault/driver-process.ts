/** The other side of the driver: starts it, gives it orders, and notices when it is gone. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Readable, Writable } from 'node:stream';
import type { Again, Opened, Order } from './driver.ts';
import type { Report } from './scenes.ts';

/** The driver ended, by a signal or by itself. */
export interface Died {
  readonly died: string;
}

const answerMs = 180_000;

export class DriverProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ended: Promise<unknown>;
  #out = '';
  #err = '';

  /** `nodeArgs` may load something that breaks the driver on purpose; its temporary files go to `temporary`. */
  constructor(nodeArgs: readonly string[], temporary: string) {
    this.#child = spawn(process.execPath, [...nodeArgs, resolve(import.meta.dirname, 'driver.ts')], {
      env: { ...process.env, UV_THREADPOOL_SIZE: '1', TMPDIR: temporary },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stdin.on('error', () => {});
    this.#child.stdout.on('data', (chunk: Buffer) => (this.#out += chunk.toString()));
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#err += chunk.toString()));
    this.#ended = once(this.#child, 'close');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** How many descriptors it has open. */
  countDescriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** How many more descriptors than `before` stay open: what is being closed gets the time for it. */
  async untilClosed(before: number): Promise<number> {
    for (let tries = 0; ; tries++) {
      const more = this.countDescriptors() - before;
      if (more <= 0 || tries === 100) return more;
      await sleep(20);
    }
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  open(order: Order & { order: 'open' }): Promise<Opened> {
    return this.#must<Opened>(order);
  }

  go(): Promise<Report | Died> {
    return this.#ask<Report>({ order: 'go' });
  }

  again(order: Order & { order: 'again' }): Promise<Again> {
    return this.#must<Again>(order);
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** The answer, once it is there whole. */
  get #line(): string | undefined {
    return /^@(?<answer>\{.*\})\n/m.exec(this.#out)?.groups?.answer;
  }

  async #must<T>(order: Order): Promise<T> {
    const answer = await this.#ask<T>(order);
    if (typeof answer === 'object' && answer !== null && 'died' in answer) throw new Error(answer.died);
    return answer;
  }

  async #ask<T>(order: Order): Promise<T | Died> {
    this.#out = '';
    this.#child.stdin.write(`${JSON.stringify(order)}\n`);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), answerMs);
    while (this.#line === undefined && this.isAlive)
      await Promise.race([once(this.#child.stdout, 'data').catch(() => {}), this.#ended]);
    clearTimeout(timer);
    const line = this.#line;
    if (line === undefined) {
      await this.#ended;
      return { died: `${this.#child.signalCode ?? `exit code ${this.#child.exitCode}`} ${this.#err}`.trim() };
    }
    const answer = JSON.parse(line) as { readonly failed?: string };
    if (answer.failed !== undefined) throw new Error(`driver, ${order.order}: ${answer.failed}`);
    return answer as T;
  }
}
