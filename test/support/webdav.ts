/** A WebDAV server on the loopback interface: `rclone serve webdav`, which keeps no times and replaces files in place. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { kill } from './child.ts';
import { findProgram, freePort } from './sshd.ts';

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
    this.#process = spawn(findProgram('rclone') ?? 'rclone', [...args, '--dir-cache-time', '0s'], { stdio: 'ignore' });
    for (let tries = 0; ; tries++) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/`, { method: 'OPTIONS' }).catch(() => null);
      if (answer) return;
      if (tries > 500) throw new Error('rclone serve webdav does not answer');
      await sleep(20);
    }
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
