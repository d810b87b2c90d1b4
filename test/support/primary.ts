/** A whole primary in a temporary directory: keys, inbox, configuration, and the real daemon as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { createSigningKey, type SigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import type { Status } from '../../src/observe/status.ts';
import { errnoOf } from '../../src/errors.ts';
import { askDaemon } from '../../src/system/control.ts';
import { kept } from './child.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');

/** Only what never comes takes so long, also on a machine that is ten times slower. */
const defaultMs = 90_000;

export interface PrimaryOptions {
  /** YAML of `mirrors:` entries, indented by two. */
  readonly mirrors?: string;
  /** YAML lines of the inbox, indented by four. */
  readonly inbox?: string;
  readonly repositories?: readonly string[];
  /** More top-level YAML. */
  readonly more?: string;
}

export class Primary implements AsyncDisposable {
  readonly directory: string;
  readonly key: SigningKey;
  #daemon: ChildProcess | null = null;
  #log = '';

  private constructor(directory: string, key: SigningKey) {
    this.directory = directory;
    this.key = key;
  }

  static async create(options: PrimaryOptions = {}): Promise<Primary> {
    const primary = new Primary(
      await mkdtemp(join(tmpdir(), 'lockstepd-primary-')),
      createSigningKey('test-1.rsa.pub'),
    );
    for (const name of ['srv/inbox/bpo', 'state', 'keys', 'mirrors'])
      await mkdir(join(primary.directory, name), { recursive: true });
    await writeFile(join(primary.directory, 'keys', primary.key.name), primary.key.publicPem);
    await primary.configure(options);
    return primary;
  }

  get root(): string {
    return join(this.directory, 'srv');
  }

  get inbox(): string {
    return join(this.root, 'inbox/bpo');
  }

  get public(): string {
    return join(this.root, 'public');
  }

  get configFile(): string {
    return join(this.directory, 'lockstepd.yaml');
  }

  get socket(): string {
    return join(this.directory, 'state', 'lockstepd.sock');
  }

  /** What the daemon has logged since its start, in whole lines. */
  get log(): string {
    return this.#log;
  }

  get pid(): number {
    return this.#daemon?.pid ?? 0;
  }

  repository(path: string): SampleRepository {
    return new SampleRepository(path, this.key);
  }

  async configure(options: PrimaryOptions): Promise<void> {
    const repositories = options.repositories ?? ['main/{arch}'];
    const yaml = [
      `root: ${this.root}`,
      `state: ${join(this.directory, 'state')}`,
      'listen: 127.0.0.1:0',
      'inboxes:',
      '  - builder: bpo',
      '    path: inbox/bpo',
      `    repositories: [${repositories.map((r) => JSON.stringify(r)).join(', ')}]`,
      `    keys: ${join(this.directory, 'keys')}`,
      options.inbox ?? '    settle: 1s',
      options.mirrors === undefined ? 'mirrors: []' : `mirrors:\n${options.mirrors}`,
      options.more ?? '',
    ];
    await writeFile(this.configFile, `${yaml.join('\n')}\n`);
  }

  /** Starts the daemon, with `env` added to ours, and waits until it is ready; `on` is put before the command, see netns.ts. */
  async start(env: Readonly<Record<string, string>> = {}, on: readonly string[] = []): Promise<void> {
    const command = [...kept, ...on, process.execPath, main, 'run', '--config', this.configFile];
    const [program = '', ...args] = command;
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#daemon = child;
    // What one that ended by itself has said is not this one's.
    this.#log = '';
    this.#read(child.stdout);
    this.#read(child.stderr);
    // Its last words come after its end.
    let ended = false;
    child.once('close', () => (ended = true));
    await this.until('the daemon to be ready', () => {
      if (ended) throw new Error(`the daemon ended with ${child.exitCode ?? child.signalCode}: ${this.#log}`);
      return this.#log.includes('"event":"started"');
    });
  }

  /** As it is written, but for the end of a line that has not come yet. */
  #read(stream: Readable): void {
    let rest = '';
    stream.setEncoding('utf8').on('data', (text: string) => {
      rest += text;
      const end = rest.lastIndexOf('\n') + 1;
      this.#log += rest.slice(0, end);
      rest = rest.slice(end);
    });
    stream.on('end', () => (this.#log += rest));
  }

  /** Ends the daemon; resolves with its exit code, null when a signal ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#daemon;
    this.#daemon = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<number | null>((done) => child.once('close', (code) => done(code)));
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), defaultMs);
    const code = await ended;
    clearTimeout(timer);
    this.#log = '';
    return code;
  }

  signal(signal: NodeJS.Signals): void {
    this.#daemon?.kill(signal);
  }

  async status(): Promise<Status> {
    return (await this.#ask('/status.json')).body as Status;
  }

  async control(action: string, body: unknown): Promise<{ status: number; body: unknown }> {
    return this.#ask(`/control/${action}`, body);
  }

  /** What was logged before the answer is in the log when this resolves: the turn reads what has come through the pipe. */
  async #ask(path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    const answer = await askDaemon(this.socket, path, body, defaultMs);
    await turn();
    return answer;
  }

  /** Waits until `condition` holds; fails with what was waited for and the daemon's log. */
  async until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = defaultMs): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await condition())) {
      if (performance.now() > deadline)
        throw new Error(`waited ${timeoutMs} ms for ${what}\n${this.#log.slice(-6000)}`);
      await sleep(20);
    }
  }

  async untilGeneration(generation: number): Promise<void> {
    await this.until(`generation ${generation}`, async () => (await this.status()).generation >= generation);
  }

  async untilInSync(mirror: string, generation: number, timeoutMs = defaultMs): Promise<void> {
    const isThere = async (): Promise<boolean> => {
      const found = (await this.status()).mirrors.find((m) => m.name === mirror);
      return found?.state === 'in-sync' && (found.generation ?? 0) >= generation;
    };
    await this.until(`${mirror} at generation ${generation}`, isThere, timeoutMs);
  }

  /** The newest batch in that state. */
  async untilBatch(state: string): Promise<Status['batches'][number]> {
    let found: Status['batches'][number] | undefined;
    await this.until(`a batch that is ${state}`, async () => {
      found = (await this.status()).batches.find((b) => b.state === state);
      return found !== undefined;
    });
    if (!found) throw new Error('unreachable');
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Every regular file below `directory`: path -> content in hex of its SHA-256, size and mtime in seconds. */
export async function snapshot(directory: string): Promise<Map<string, { content: string; mtimeSeconds: number }>> {
  const files = new Map<string, { content: string; mtimeSeconds: number }>();
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  for (const entry of entries.sort((a, b) => a.name.localeCompare(b.name))) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const found = await Promise.all([readFile(path, 'base64'), stat(path)]).catch((error: unknown) => {
      // A temporary file has got its name meanwhile.
      if (errnoOf(error) === 'ENOENT') return null;
      throw error;
    });
    if (found === null) continue;
    const [content, { mtimeMs }] = found;
    files.set(path.slice(directory.length + 1), { content, mtimeSeconds: Math.floor(mtimeMs / 1000) });
  }
  return files;
}
