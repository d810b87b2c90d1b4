/** Three lockstepds in a chain, each on a host of its own (network namespaces): builder -> primary -> leaf1 -> leaf2. Real sshd, rrsync, sftp. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, writeFile, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { SampleRepository } from '../../src/cli/sample-builder.ts';
import { createLeaf, configureLeaf, makeIn } from '../support/leaf.ts';
import { Chain, type FarSshd, whyNoNamespaces } from '../support/netns.ts';
import { Primary, snapshot } from '../support/primary.ts';
import { missingProgram } from '../support/sshd.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const arches = ['aarch64', 'armv7', 'riscv64', 'x86_64'] as const;
const more = 'schedule: { rescan: 2s, probe: 1s }';
/** Three daemons, two sshd and rsync on a machine that is ten times slower. */
const longMs = 240_000;

class World {
  readonly #chain: Chain;
  readonly #ssh: FarSshd;
  readonly #built: string;
  readonly #repositories: readonly SampleRepository[];
  #batches = 0;
  readonly hosts: Readonly<Record<'primary' | 'leaf1' | 'leaf2', Primary>>;

  constructor(chain: Chain, ssh: FarSshd, built: string, hosts: World['hosts']) {
    this.#chain = chain;
    this.#ssh = ssh;
    this.#built = built;
    this.hosts = hosts;
    this.#repositories = arches.map((arch) => hosts.primary.repository(`main/${arch}`));
  }

  start(name: 'primary' | 'leaf1' | 'leaf2'): Promise<void> {
    return this.hosts[name].start({}, this.#chain.on(name));
  }

  /**
   * The builder pushes a new version of `packages` packages for each architecture; returns when rsync is done, with the number of
   * the batch, which is that of the version and of the generation that each host makes of it.
   */
  async upload({ packages = 3, bytes = 20_000 } = {}): Promise<number> {
    const version = `${++this.#batches}-r0`;
    for (const [n, repository] of this.#repositories.entries()) {
      for (let p = 0; p < packages; p++)
        repository.set({ name: `p${p}`, version, contentBytes: bytes, seed: 100 * n + p });
      await repository.write(this.#built);
    }
    const address = this.#chain.addressOf('primary');
    const known = join(this.#built, '../known_hosts');
    const [type, key] = (await readFile(this.#ssh.hostKeyFile, 'utf8')).split(' ');
    await writeFile(known, `[${address}]:${this.#ssh.port} ${type} ${key}\n`);
    const ssh = `ssh -F none -p ${this.#ssh.port} -i ${this.#ssh.identity} -o UserKnownHostsFile=${known} -o StrictHostKeyChecking=yes -o BatchMode=yes`;
    await this.#chain.exec('builder', ['rsync', '-rt', '-e', ssh, `${this.#built}/`, `root@${address}:/`]);
    return this.#batches;
  }

  /** Whether leaf2 serves, byte for byte, what the builder has built. */
  async hasArrived(): Promise<boolean> {
    return serves(this.hosts.leaf2, await snapshot(this.#built));
  }

  /** Until leaf2 serves, byte for byte, what the builder has built; all of it as one generation more. */
  async untilArrived(): Promise<void> {
    const { leaf2 } = this.hosts;
    const wanted = await snapshot(this.#built);
    await leaf2.until('the batch to arrive at the end of the chain', () => serves(leaf2, wanted), longMs);
    // It is written down once it is served.
    await leaf2.untilGeneration(this.#batches);
    assert.equal((await leaf2.status()).generation, this.#batches, 'one generation for each batch');
  }
}

async function serves(host: Primary, wanted: Awaited<ReturnType<typeof snapshot>>): Promise<boolean> {
  for (const arch of arches) if (!existsSync(join(host.public, 'main', arch, 'APKINDEX.tar.gz'))) return false;
  const found = await snapshot(host.public);
  return [...wanted].every(([path, { content }]) => found.get(path)?.content === content);
}

async function world(t: TestContext): Promise<{ world: World; chain: Chain }> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-chain-'));
  removeAtEnd(t, directory);
  const chain = await Chain.create(directory, ['builder', 'primary', 'leaf1', 'leaf2']);
  t.after(() => chain[Symbol.asyncDispose]());
  const primary = await Primary.create();
  const [leaf1, leaf2] = [await createLeaf(primary), await createLeaf(primary)];
  // The daemons end before their namespaces do.
  for (const host of [primary, leaf1, leaf2]) t.after(() => host[Symbol.asyncDispose]());
  const toPrimary = await chain.startSshd('primary', { command: `rrsync -wo -munge -no-del ${primary.inbox}` });
  const toLeaf1 = await chain.startSshd('leaf1', { command: `rrsync -wo -munge ${leaf1.inbox}` });
  const toLeaf2 = await chain.startSshd('leaf2', { chroot: leaf2.inbox });
  await chain.startWeb('leaf1', leaf1.public);
  await chain.startWeb('leaf2', leaf2.public);
  const mirror = (name: string, transport: string): string =>
    `  - { name: ${name}, url: "${chain.webOf(name)}", transport: { ${transport}, timeout: 10s } }\n`;
  await primary.configure({ mirrors: mirror('leaf1', `type: rsync, path: /, ${toLeaf1.login}`), more });
  // Longer than the test: whatever goes out, goes out because the trace says that it is whole.
  const inbox = '    settle: 10m';
  await configureLeaf(leaf1, { inbox, mirrors: mirror('leaf2', `type: sftp, path: /inbox, ${toLeaf2.login}`), more });
  await configureLeaf(leaf2, { inbox, more });
  const built = await makeIn(directory, 'built');
  return { world: new World(chain, toPrimary, built, { primary, leaf1, leaf2 }), chain };
}

test('a batch for several architectures goes down a chain of three hosts byte for byte; a dead middle and a cut link only delay it', {
  timeout: 1_800_000,
}, async (t) => {
  const why = (await whyNoNamespaces()) ?? missingProgram('sshd', 'rrsync', 'rsync', 'ssh');
  if (why !== undefined) {
    process.stderr.write(`\nCHAIN OF THREE HOSTS NOT TESTED: ${why}\n\n`);
    return t.skip(why);
  }
  const { world: chained, chain } = await world(t);
  const { primary, leaf1, leaf2 } = chained.hosts;
  for (const name of ['leaf2', 'leaf1', 'primary'] as const) await chained.start(name);

  const timed = async (what: string, work: () => Promise<void>): Promise<void> => {
    const startedAt = performance.now();
    await work();
    t.diagnostic(`${what}: ${((performance.now() - startedAt) / 1000).toFixed(2)} s`);
  };
  await chained.upload();
  await timed('first batch, from the end of the upload to the end of the chain', () => chained.untilArrived());
  await chained.upload();
  await timed('second batch, over warm connections', () => chained.untilArrived());
  for (const host of [primary, leaf1, leaf2])
    assert.equal((await host.status()).generation, 2, 'one generation for each batch, on each host');
  await primary.until(
    'the probes to see it',
    async () => {
      const seen = await Promise.all([primary, leaf1].map(async (host) => (await host.status()).mirrors[0]));
      return seen.every((mirror) => mirror?.observed_generation === 2 && mirror.observed_lag_seconds === 0);
    },
    longMs,
  );
  const [told] = (await leaf2.status()).upstreams;
  assert.deepEqual([told?.upstream_generation, told?.indexes, told?.indexes_lacking], [2, arches.length, 0]);

  // Killed while it is away, and in the middle of its push.
  await leaf1.stop('SIGKILL');
  await chained.upload();
  await chained.start('leaf1');
  await timed('third batch, from the start of the middle after it was killed', () => chained.untilArrived());
  for (let killedInPush = false; !killedInPush; ) {
    const batch = await chained.upload({ packages: 40, bytes: 300_000 });
    const arriving = async (): Promise<boolean> =>
      (await readdir(join(leaf2.inbox, 'main', arches[0]))).some((name) => name.includes(`-${batch}-r0`));
    await leaf2.until(`the first package of batch ${batch}`, arriving, longMs);
    await leaf1.stop('SIGKILL');
    // A push that had ended already counts for nothing: another batch is killed.
    killedInPush = (await leaf2.status()).generation < batch;
    if (!killedInPush) assert.ok(await chained.hasArrived(), 'nothing half goes out');
    await chained.start('leaf1');
    await timed(`batch ${batch}, from the start of the middle after it was killed in its push`, () =>
      chained.untilArrived(),
    );
  }

  await chain.setLink('leaf2', 'down');
  const last = await chained.upload();
  await leaf1.until('the middle to have it', async () => (await leaf1.status()).generation === last, longMs);
  await leaf1.until(
    'the middle to notice the cut',
    async () => (await leaf1.status()).mirrors[0]?.last_error !== null,
    longMs,
  );
  assert.equal((await leaf2.status()).generation, last - 1);
  t.diagnostic(`while the link is down: ${(await leaf1.status()).mirrors[0]?.last_error}`);
  await chain.setLink('leaf2', 'up');
  await timed('last batch, from the moment that the link is up again', () => chained.untilArrived());
});
