/** A private mosquitto on the loopback interface, and mosquitto_sub as those that mirrors hang on. */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { exec } from '../../src/system/exec.ts';
import { hasEnded, kept, kill } from './child.ts';
import { findProgram, freePort, untilAnswers } from './sshd.ts';

export interface BrokerOptions {
  /** Only this user with this password; without it anybody. */
  readonly account?: { readonly user: string; readonly password: string };
  /** Files of the server's certificate and key. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

export class Broker implements AsyncDisposable {
  readonly directory: string;
  readonly port: number;
  readonly #options: BrokerOptions;
  #process: ChildProcess | null = null;
  readonly #subscribers = new Set<ChildProcess>();

  private constructor(directory: string, port: number, options: BrokerOptions) {
    this.directory = directory;
    this.port = port;
    this.#options = options;
  }

  static async create(options: BrokerOptions = {}): Promise<Broker> {
    const directory = await mkdtemp(join(tmpdir(), 'lockstepd-broker-'));
    const broker = new Broker(directory, await freePort(), options);
    await broker.start();
    return broker;
  }

  async start(): Promise<void> {
    const { account, tls } = this.#options;
    const passwords = join(this.directory, 'passwords');
    if (account) {
      await writeFile(passwords, `${account.user}:${account.password}\n`, { mode: 0o600 });
      const argv: [string, ...string[]] = [findProgram('mosquitto_passwd') ?? 'mosquitto_passwd', '-U', passwords];
      const { code, stderr } = await exec(argv, { timeoutMs: 60_000 });
      if (code !== 0) throw new Error(`mosquitto_passwd: ${stderr}`);
    }
    const lines = [
      `listener ${this.port} 127.0.0.1`,
      `user ${userInfo().username}`,
      'persistence false',
      account ? `password_file ${passwords}` : 'allow_anonymous true',
      ...(tls ? [`certfile ${tls.certificate}`, `keyfile ${tls.key}`] : []),
    ];
    const file = join(this.directory, 'mosquitto.conf');
    await writeFile(file, `${lines.join('\n')}\n`);
    const [program, ...args] = [...kept, findProgram('mosquitto') ?? 'mosquitto', '-c', file];
    const child = spawn(program, args, { stdio: 'ignore' });
    this.#process = child;
    await untilAnswers(this.port, 'mosquitto', () => hasEnded(child));
  }

  /** As a crash ends it: what was retained is gone. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    await kill(child);
  }

  /** Lines `TOPIC PAYLOAD` of what `mosquitto_sub` gets, as it comes; resolves once the subscription stands. */
  async subscribe(topic: string, more: readonly string[] = []): Promise<string[]> {
    const { account } = this.#options;
    const args = ['-h', '127.0.0.1', '-p', String(this.port), '-t', topic, '-v', '-q', '1', '-d', ...more];
    if (account) args.push('-u', account.user, '-P', account.password);
    const [program = '', ...words] = [...kept, 'stdbuf', '-oL', 'mosquitto_sub', ...args];
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#subscribers.add(child);
    const lines: string[] = [];
    const standing = Promise.withResolvers<void>();
    let rest = '';
    child.stdout.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) {
        if (line.includes('SUBACK')) standing.resolve();
        // The lines of -d begin with "Client" or "Subscribed".
        if (!/^(?:Client |Subscribed )/.test(line)) lines.push(line);
      }
    });
    child.once('close', (code) => standing.reject(new Error(`mosquitto_sub ended with ${code}`)));
    await standing.promise;
    return lines;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#subscribers) child.kill('SIGKILL');
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A CA of its own and a certificate for `localhost` from it, as PEM files in `directory`. */
export async function makeCertificate(
  directory: string,
  name: string,
): Promise<{ readonly ca: string; readonly certificate: string; readonly key: string }> {
  const at = (end: string): string => join(directory, `${name}${end}`);
  const openssl = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await exec(['openssl', ...args], { timeoutMs: 60_000 });
    if (code !== 0) throw new Error(stderr);
  };
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl('req', '-x509', ...fresh, '-keyout', at('-ca.key'), '-out', at('-ca.pem'), '-subj', `/CN=CA ${name}`);
  await writeFile(at('.ext'), 'subjectAltName=DNS:localhost\n');
  await openssl('req', ...fresh, '-keyout', at('.key'), '-out', at('.csr'), '-subj', '/CN=localhost');
  const sign = ['x509', '-req', '-in', at('.csr'), '-CA', at('-ca.pem'), '-CAkey', at('-ca.key'), '-CAcreateserial'];
  await openssl(...sign, '-extfile', at('.ext'), '-days', '2', '-out', at('.pem'));
  return { ca: at('-ca.pem'), certificate: at('.pem'), key: at('.key') };
}
