/** A running primary with one good mirror beside those that a test breaks, and what every fault must come to: reason, state, advice, catching up. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { SampleRepository } from '../../src/cli/sample-builder.ts';
import type { MirrorStatus } from '../../src/observe/status.ts';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary, snapshot } from './primary.ts';
import type { Sshd } from './sshd.ts';

export interface Reach {
  readonly type: 'sftp' | 'rsync';
  /** Name of an account of the sshd. */
  readonly account: string;
  /** The root as the account sees it. */
  readonly path: string;
  readonly host?: string;
  readonly port?: number;
  readonly identity?: string;
  readonly hostKey?: string;
  /** More keys of the transport, as YAML. */
  readonly more?: string;
}

/** What the operator must be told: `reason: ...`, and whether the mirror waits for time or for a person. */
export interface Told {
  readonly reason: string;
  readonly says: RegExp;
  readonly waitsFor: 'time' | 'person';
}

export class FaultWorld implements AsyncDisposable {
  readonly primary: Primary;
  readonly repository: SampleRepository;
  readonly #mirrors = new Map<string, string>();
  #more = '';
  #mounted: string[] = [];
  #version = 0;

  private constructor(primary: Primary) {
    this.primary = primary;
    this.repository = primary.repository('main/x86_64');
  }

  static async create(): Promise<FaultWorld> {
    const world = new FaultWorld(await Primary.create());
    await mkdir(world.at('good'));
    world.#mirrors.set('good', `transport: { type: directory, path: ${world.at('good')} }`);
    return world;
  }

  /** Where the files of a mirror lie on this machine. */
  at(mirror: string): string {
    return join(this.primary.directory, 'mirrors', mirror);
  }

  /** Adds or changes a mirror; `configure` makes it so. */
  mirror(name: string, sshd: Sshd, reach: Reach, more = ''): void {
    const { type, account, path, host = sshd.host, port = sshd.port, hostKey = sshd.hostKeyFingerprint } = reach;
    const identity = reach.identity ?? sshd.identity(account);
    this.#mirrors.set(
      name,
      `transport: { type: ${type}, path: ${path}, host: ${host}, port: ${port}, user: ${sshd.user}, identity: ${identity}, host_key: "${hostKey}", ${reach.more ?? 'timeout: 2s'} }${more}`,
    );
  }

  directoryMirror(name: string, path: string, more = ''): void {
    this.#mirrors.set(name, `transport: { type: directory, path: ${path} }${more}`);
  }

  /** Writes the configuration; a daemon that runs takes it over. `more`: top-level YAML, kept for later calls. */
  async configure(more = this.#more): Promise<void> {
    this.#more = more;
    const mirrors = [...this.#mirrors].map(([name, rest]) => `  - { name: ${name}, ${rest} }`).join('\n');
    await this.primary.configure({ mirrors, more });
    if (this.primary.pid !== 0) {
      const { status, body } = await this.primary.control('reload', {});
      assert.equal(status, 200, JSON.stringify(body));
    }
  }

  /** Uploads `packages` in a version that was not there before, and waits until the good mirror has them. */
  async publish(packages = 3, contentBytes = 3000): Promise<number> {
    const before = this.#version === 0 ? 0 : (await this.primary.status()).generation;
    this.#version++;
    for (let n = 0; n < packages; n++)
      this.repository.set({
        name: `pkg-${n}`,
        version: `1.${this.#version}-r0`,
        contentBytes,
        seed: this.#version * 100 + n,
      });
    await this.repository.write(this.primary.inbox);
    await this.primary.untilInSync('good', before + 1);
    return before + 1;
  }

  async statusOf(mirror: string): Promise<MirrorStatus> {
    const found = (await this.primary.status()).mirrors.find(({ name }) => name === mirror);
    if (!found) throw new Error(`no mirror ${mirror}`);
    return found;
  }

  /** Waits until the status says so of the mirror; the failures are counted by reason. */
  async untilTold(mirror: string, { reason, says, waitsFor }: Told): Promise<void> {
    let last: MirrorStatus | undefined;
    const states = waitsFor === 'person' ? ['blocked'] : ['waiting', 'pushing'];
    try {
      await this.primary.until(`${mirror}: ${reason}`, async () => {
        last = await this.statusOf(mirror);
        return (last.last_error ?? '').startsWith(`${reason}: `) && states.includes(last.state);
      });
    } catch (error) {
      throw new Error(`${mirror}: state ${last?.state}, error ${last?.last_error}`, { cause: error });
    }
    assert.match(last?.last_error ?? '', says, mirror);
    assert.doesNotMatch(last?.last_error ?? '', /\n/);
    const { host, port } = this.#web;
    const metrics = await (await fetch(`http://${host}:${port}/metrics`)).text();
    const failures = new RegExp(`lockstep_push_failures_total\\{mirror="${mirror}",reason="${reason}"\\} [1-9]`);
    assert.match(metrics, failures);
  }

  get #web(): { host: string; port: string } {
    const [, host = '', port = ''] = /"listen":"([^:"]+):(\d+)"/.exec(this.primary.log) ?? [];
    return { host, port };
  }

  /** Pushes now and waits until the mirror serves what the primary does, byte for byte. */
  async untilCaughtUp(mirror: string, generation: number): Promise<void> {
    await this.primary.until(`a push to ${mirror}`, async () => {
      const { state } = await this.statusOf(mirror);
      if (state === 'waiting' || state === 'blocked') await this.primary.control('push', { mirror });
      return state === 'in-sync';
    });
    await this.primary.untilInSync(mirror, generation);
    assert.equal((await this.statusOf(mirror)).last_error, null);
    const there = await snapshot(this.at(mirror));
    for (const [path, file] of await this.wanted()) assert.deepEqual(there.get(path), file, `${mirror}: ${path}`);
    const left = [...there.keys()].filter((path) => path.includes('.lockstepd-') || /\/\.[^/]*$/.test(path));
    assert.deepEqual(left, [], `${mirror}: temporary files`);
  }

  /** The files that the present index names, the index and the trace, as the primary serves them. */
  async wanted(): Promise<Map<string, { content: string; mtimeSeconds: number }>> {
    const served = await snapshot(this.primary.public);
    const names = new Set(this.repository.entries.map((entry) => `main/x86_64/${entry.name}-${entry.version}.apk`));
    return new Map([...served].filter(([path]) => !path.endsWith('.apk') || names.has(path)));
  }

  /** Mounts at the place of a mirror; false where that is not allowed. Unmounted at the end. */
  async mount(mirror: string, args: readonly string[]): Promise<boolean> {
    const { code } = await run(['mount', ...args, this.at(mirror)]);
    if (code === 0) this.#mounted.push(this.at(mirror));
    return code === 0;
  }

  async remount(mirror: string, options: string): Promise<void> {
    const { code, stderr } = await run(['mount', '-o', `remount,${options}`, this.at(mirror)]);
    assert.equal(code, 0, stderr);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.primary.stop();
    for (const path of this.#mounted) await run(['umount', '-l', path]);
    this.#mounted = [];
    await this.primary[Symbol.asyncDispose]();
  }
}

function run(argv: readonly [string, ...string[]]): ReturnType<typeof exec> {
  return exec(argv, { env: childEnvironment(), timeoutMs: 60_000 });
}
