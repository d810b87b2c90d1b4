/** A WebDAV server on the loopback interface: `rclone serve webdav`, which keeps no times and replaces files in place. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { hasEnded, kept, kill } from './child.ts';
import { findProgram, freePort, untilAnswers } from './sshd.ts';

export class Webdav implements AsyncDisposable {
  readonly port: number;
  readonly #directory: string;
  #process: ChildProcess | null = null;

  private constructor(directory: string, port: number) {
    this.#directory = directory;
    this.port = port;
  }

  static async serve(directory: string): Promise<Webdav> {
    const server = new Webdav(directory, await freePort());
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const args = ['serve', 'webdav', this.#directory, '--addr', `127.0.0.1:${this.port}`, '--config', '/dev/null'];
    const command = [...kept, findProgram('rclone') ?? 'rclone', ...args, '--dir-cache-time', '0s'];
    const [program = '', ...words] = command;
    const child = spawn(program, words, { stdio: 'ignore' });
    this.#process = child;
    await untilAnswers(this.port, 'rclone serve webdav', () => hasEnded(child));
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    await kill(child);
  }

  /** Stops the server where it stands. */
  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  /** A configuration of rclone with this server as `dav`. */
  async writeConfig(file: string): Promise<void> {
    await writeFile(file, `[dav]\ntype = webdav\nurl = http://127.0.0.1:${this.port}\nvendor = other\n`, {
      mode: 0o600,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
