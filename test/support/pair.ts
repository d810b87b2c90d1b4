/** Two primaries of one builder, whose mirrors are the same: real daemons, a real sshd, and web servers for the probes. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { Primary, type PrimaryOptions } from './primary.ts';
import { type Proxy, startProxy } from './proxy.ts';
import { type Sshd, startSshd } from './sshd.ts';

/** Serves a directory; `down` makes it answer nothing but errors. */
export class Web implements AsyncDisposable {
  readonly #server: Server;
  readonly port: number;
  down = false;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async start(directory: string): Promise<Web> {
    const server = createServer((request, response) => {
      if (web.down) return request.socket.destroy();
      readFile(join(directory, decodeURIComponent(request.url ?? '/'))).then(
        (bytes) => response.end(bytes),
        () => response.writeHead(404).end(),
      );
      return undefined;
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const web: Web = new Web(server, address.port);
    return web;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

export interface PairOptions {
  readonly takeoverAfter: string;
  readonly more?: string;
}

export class Pair implements AsyncDisposable {
  readonly directory: string;
  readonly first: Primary;
  readonly second: Primary;
  readonly sshd: Sshd;
  readonly webs: Readonly<Record<string, Web>>;
  /** The way of each primary to sshd. */
  readonly links: Readonly<Record<'first' | 'second', Proxy>>;
  readonly repositories: readonly SampleRepository[];

  readonly #more: string;

  private constructor(parts: Pick<Pair, 'directory' | 'first' | 'second' | 'sshd' | 'webs' | 'links'>, more: string) {
    this.#more = more;
    this.directory = parts.directory;
    this.first = parts.first;
    this.second = parts.second;
    this.sshd = parts.sshd;
    this.webs = parts.webs;
    this.links = parts.links;
    this.repositories = ['main/x86_64'].map((path) => new SampleRepository(path, parts.first.key));
  }

  static async create({ takeoverAfter, more = '' }: PairOptions): Promise<Pair> {
    const directory = await mkdtemp(join(tmpdir(), 'lockstepd-pair-'));
    const names = ['m-sftp', 'm-rsync'];
    for (const name of [...names, 'upload']) await mkdir(join(directory, name));
    const sshd = await startSshd({ sftp: 'internal-sftp', rrsync: `rrsync ${join(directory, 'm-rsync')}` });
    const webs = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await Web.start(join(directory, name))] as const)),
    );
    const links = { first: await startProxy(sshd.port), second: await startProxy(sshd.port) };
    const [first, second] = [await Primary.create(), await Primary.create()];
    await writeFile(join(second.directory, 'keys', first.key.name), first.key.publicPem);
    const pair = new Pair({ directory, first, second, sshd, webs, links }, more);
    await first.configure(pair.#options('first', takeoverAfter));
    await second.configure(pair.#options('second', takeoverAfter));
    return pair;
  }

  /** The second, which runs, waits so long from now on: a first that works slowly is not taken for one that is dead. */
  async takeOverAfter(takeoverAfter: string): Promise<void> {
    await this.second.configure(this.#options('second', takeoverAfter));
    const { status, body } = await this.second.control('reload', {});
    assert.equal(status, 200, JSON.stringify(body));
  }

  #options(who: 'first' | 'second', takeoverAfter: string): PrimaryOptions {
    return {
      inbox: '    settle: 0s',
      mirrors: Object.keys(this.webs)
        .map((name) => this.#mirror(name, who, takeoverAfter))
        .join('\n'),
      more: `publish: { primary: ${who} }\nschedule: { probe: 1s, rescan: 1s }\n${this.#more}`,
    };
  }

  at(mirror: string): string {
    return join(this.directory, mirror);
  }

  #mirror(name: string, who: 'first' | 'second', takeoverAfter: string): string {
    const type = name === 'm-sftp' ? 'sftp' : 'rsync';
    const account = type === 'sftp' ? 'sftp' : 'rrsync';
    const path = type === 'sftp' ? this.at(name) : '/';
    const ssh = `host: 127.0.0.1, port: ${this.links[who].port}, user: ${this.sshd.user}, identity: ${this.sshd.identity(account)}, host_key: "${this.sshd.hostKeyFingerprint}", timeout: 15s`;
    const after = who === 'second' ? `takeover_after: ${takeoverAfter}, ` : '';
    const url = `url: "http://127.0.0.1:${this.webs[name]?.port}/"`;
    return `  - { name: ${name}, ${after}${url}, transport: { type: ${type}, path: ${path}, ${ssh} } }`;
  }

  /** A builder makes a batch: each repository gets a package more, and loses the oldest of many. */
  async build(round: number): Promise<void> {
    for (const [n, repository] of this.repositories.entries()) {
      const buildTime = 1_750_000_000 + round;
      repository.set({ name: `pkg-${round}`, version: '1.0-r0', contentBytes: 2000, seed: round * 10 + n, buildTime });
      repository.set({ name: 'common', version: `1.${round}-r0`, contentBytes: 5000, seed: round * 10 + n, buildTime });
      await repository.write(join(this.directory, 'upload'));
    }
  }

  /** Uploads what was built last. */
  async upload(...primaries: readonly Primary[]): Promise<void> {
    await Promise.all(
      primaries.map((primary) =>
        cp(join(this.directory, 'upload'), primary.inbox, { recursive: true, preserveTimestamps: true }),
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.first[Symbol.asyncDispose]();
    await this.second[Symbol.asyncDispose]();
    for (const proxy of Object.values(this.links)) await proxy[Symbol.asyncDispose]();
    for (const web of Object.values(this.webs)) await web[Symbol.asyncDispose]();
    await this.sshd[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}
