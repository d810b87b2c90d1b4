/** The demo's builder: signs a small batch of packages for two architectures and uploads it, as a build server would. */
import { createSigningKey, type SigningKey } from '../apk/make.ts';
import { messageOf, OperationError } from '../errors.ts';
import { childEnvironment, exec } from '../system/exec.ts';
import type { PrivateSshd, SshPrograms } from './demo-sshd.ts';
import { SampleRepository } from './sample-builder.ts';

export interface Upload {
  /** Counts from 1. */
  readonly batch: number;
  readonly packages: number;
  readonly bytes: number;
}

const architectures = ['x86_64', 'aarch64'];
const names = [
  'bootlogo',
  'camera',
  'dialer',
  'firmware',
  'gps',
  'keyboard',
  'launcher',
  'modem',
  'settings',
  'shell',
  'theme',
  'wallpaper',
];
const upgradedPerBatch = 3;
const uploadTimeoutMs = 60_000;

/** Brings what the builder has to the inbox. */
export type Uploader = (repositories: readonly SampleRepository[], signal: AbortSignal) => Promise<void>;

export class DemoBuilder {
  readonly #key: SigningKey = createSigningKey('demo-1.rsa.pub');
  readonly #repositories: readonly SampleRepository[];
  readonly #upload: Uploader;
  #batch = 0;

  constructor(upload: Uploader) {
    this.#upload = upload;
    this.#repositories = architectures.map((arch) => new SampleRepository(`main/${arch}`, this.#key));
  }

  /** File name and PEM text of the public key to trust. */
  get publicKey(): { readonly name: string; readonly pem: string } {
    return { name: this.#key.name, pem: this.#key.publicPem };
  }

  get repositories(): readonly string[] {
    return this.#repositories.map((repository) => repository.path);
  }

  /** Builds and uploads the next batch: everything at first, then a few upgrades. `nowMs` is the packages' build time. */
  async next(nowMs: number, signal: AbortSignal): Promise<Upload> {
    const batch = ++this.#batch;
    const first = batch === 1;
    const chosen = first
      ? names
      : Array.from({ length: upgradedPerBatch }, (_, i) => names[(batch * upgradedPerBatch + i) % names.length] ?? '');
    let bytes = 0;
    for (const [r, repository] of this.#repositories.entries()) {
      for (const [n, name] of chosen.entries()) {
        const seed = (batch * 100 + n) * architectures.length + r;
        const made = repository.set({
          name: `demo-${name}`,
          version: `1.${batch}-r0`,
          contentBytes: 1500,
          seed,
          buildTime: Math.floor(nowMs / 1000),
        });
        bytes += made.bytes.length;
      }
    }
    await this.#upload(this.#repositories, signal);
    return { batch, packages: chosen.length * architectures.length, bytes };
  }
}

/** Writes into the inbox of the same machine: packages, then the index. */
export function copyUploader(inbox: string): Uploader {
  return async (repositories) => {
    for (const repository of repositories) await repository.write(inbox);
  };
}

/** Real rsync over real ssh into the account that the builder's key is confined to. Rejects when rsync fails. */
export function rsyncUploader(programs: SshPrograms, sshd: PrivateSshd, directory: string): Uploader {
  return async (repositories, signal) => {
    for (const repository of repositories) await repository.write(directory);
    await pushDirectory(programs, sshd, directory, signal);
  };
}

/** Uploads `directory` as it is. Throws OperationError CHILD with what rsync and sshd said. */
export async function pushDirectory(
  programs: SshPrograms,
  sshd: PrivateSshd,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const argv = [programs.rsync, '-rt', '-e', sshd.remoteShell, `${directory}/`, `${sshd.user}@127.0.0.1:/`] as const;
  try {
    const { code, stderr } = await exec([...argv], {
      env: childEnvironment(),
      timeoutMs: uploadTimeoutMs,
      killAfterMs: 500,
      signal,
    });
    if (code === 0) return;
    const why = [stderr, sshd.complaint()]
      .join(' ')
      .trim()
      .split(/[\r\n]/)[0];
    throw new OperationError('CHILD', `rsync ended with ${code}: ${why}`);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof OperationError
      ? error
      : new OperationError('CHILD', `rsync: ${messageOf(error)}`, { cause: error });
  }
}
