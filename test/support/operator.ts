/** A new operator who does what the documents say, command by command, on a scratch host; and what others do meanwhile. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSigningKey } from '../../src/apk/make.ts';
import { SampleRepository } from '../../src/cli/sample-builder.ts';
import { commandsOf, piecesOf } from './documents.ts';
import type { Host, Ran } from './scratch-host.ts';

/** What is not run, and why. The scratch host has what they would have made. */
export const notRun: readonly { readonly match: RegExp; readonly why: string }[] = [
  { match: /npm ci/, why: 'needs the network; the host runs this checkout' },
  {
    match: /^apt-get /,
    why: 'needs the network and the package, which npm run package:try installs in a Debian of its own',
  },
  { match: /^journalctl /, why: 'no journal is there without systemd' },
  { match: /^exec curl .*ntfy/, why: 'a whole hook of one line, which tells a service elsewhere' },
];

/** Exit codes that are meant, where that is not 0. */
const meant: Readonly<Record<string, readonly number[]>> = {
  // The host key has to be compared first.
  'lockstepd init mirror paris --type rsync': [75],
  'lockstepd init mirror lyon': [75],
  'lockstepd init mirror tokyo': [75],
  'lockstepd init mirror oslo': [75],
  // There are findings on such a host: no systemd, for one.
  'lockstepd doctor': [0, 1],
  // Mirrors of the guide that nobody serves here are behind.
  'lockstepd status': [0, 3],
};

/** Only what never comes takes so long, also on a machine that is ten times slower. */
const waitMs = 120_000;

export class Operator {
  readonly #host: Host;
  readonly #key = createSigningKey('build.example.org.rsa.pub');
  readonly #packages = new SampleRepository('main/x86_64', this.#key);

  constructor(host: Host) {
    this.#host = host;
  }

  /** What others have: sshd and nginx, a builder with its keys and its first packages, the web server of the mirror. */
  async prepare(): Promise<void> {
    const second = createSigningKey('second.rsa.pub');
    this.#host.write('/root/build.example.org.rsa.pub', this.#key.publicPem);
    for (const name of ['second', 'new']) this.#host.write(`/root/${name}.rsa.pub`, second.publicPem);
    this.#host.write('/root/rclone.conf', '[s3]\ntype = alias\nremote = /srv/store\n');
    const served = { 'mirror.example.net': '/srv/repository', 'oslo.example.net': '/srv/oslo' };
    const servers = Object.entries(served).map(
      ([name, root]) => `server { listen 80; server_name ${name}; root ${root}; }\n`,
    );
    this.#host.write('/etc/nginx/conf.d/mirrors.conf', servers.join(''));
    await this.ok(`install -d -m 1777 /srv/store/bucket/repository
      systemctl restart ssh nginx
      install -d -m 700 .ssh
      ssh-keygen -q -t ed25519 -N '' -C builder -f .ssh/id_ed25519
      cp .ssh/id_ed25519.pub builder.pub
      cp .ssh/id_ed25519.pub second.pub
      ssh-keyscan primary.example.org > .ssh/known_hosts 2> /dev/null`);
    for (const [seed, name] of ['apple', 'banana', 'cherry'].entries())
      this.#packages.set({ name, version: '1.0-r0', contentBytes: 1000, seed });
    await this.#packages.write(this.#host.path('/root'));
  }

  async readme(): Promise<void> {
    await this.follow('README.md', async (command, { out }) => {
      if (command.startsWith('lockstepd init primary'))
        for (const { title, script } of piecesOf(out)) if (title.startsWith('Here, as root')) await this.ok(script);
      if (command.startsWith('lockstepd init mirror')) await this.#joined(out);
      if (command.startsWith('rsync ')) await this.#untilServed();
    });
    const { out } = await this.ok('lockstepd status');
    assert.match(out, /paris/);
    await this.ok('cmp main/x86_64/APKINDEX.tar.gz /srv/repository/main/x86_64/APKINDEX.tar.gz');
    await this.ok(
      'curl -fsS http://mirror.example.net/main/x86_64/APKINDEX.tar.gz | cmp - main/x86_64/APKINDEX.tar.gz',
    );
    const head = await this.ok(
      'curl -fsSI http://primary.example.org/main/x86_64/APKINDEX.tar.gz http://primary.example.org/main/x86_64/apple-1.0-r0.apk',
    );
    assert.match(head.out, /application\/gzip[^]*no-cache[^]*application\/octet-stream[^]*max-age=86400/);
  }

  /** What is there stays as it is, whoever wrote it; what belongs to somebody else stops init before it makes anything. */
  async again(): Promise<void> {
    const first = commandsOf('README.md').find(({ text }) => text.startsWith('lockstepd init primary'))?.text ?? '';
    const sums = 'find /etc -newer /root/builder.pub -type f | sort | xargs sha256sum';
    const before = (await this.ok(sums)).out;
    assert.match((await this.ok(first)).out, /^nothing to change/);
    const mirror = await this.ok('lockstepd init mirror paris --type rsync --host mirror.example.net');
    assert.match(mirror.out, /^nothing to change/m);
    assert.equal((await this.ok(sums)).out, before);

    const keys = '/etc/lockstepd/authorized_keys.d/repoupload-example';
    const edited = await this.ok(`cp ${keys} keys; echo '# mine' > ${keys}; ${first}; cat ${keys}; cp keys ${keys}`);
    assert.match(
      edited.out,
      /^\S+repoupload-example is there and is not changed; this would be in it:\n {4}restrict,/m,
    );
    assert.ok(edited.out.endsWith('\n# mine\n'));

    await this.ok('install -d -o nobody /srv/theirs');
    const own = '--config /etc/other/lockstepd.yaml --root /srv/theirs --state /var/lib/other';
    const refused = await this.#host.run(`${first.replace('example', 'other')} ${own}`);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /^lockstepd: \/srv\/theirs belongs to uid \d+, expected root or lockstepd: /);
    assert.notEqual((await this.#host.run('id repoupload-other')).code, 0, 'nothing was made');
  }

  async guide(): Promise<void> {
    await this.ok('cp /usr/lib/lockstepd/config/pull/* .');
    const after = async (command: string, { code, out }: Ran): Promise<void> => {
      // Where a host key is to be compared, the owner does the part of the mirror.
      if (command.startsWith('lockstepd init mirror') && code === 75) await this.#joined(out);
      if (command === 'lockstepd check --online && systemctl reload lockstepd') await this.#untilEverywhere();
    };
    await this.follow('config/docs/guide.md', after, async (command) => {
      if (command.startsWith('lockstepd preview')) await this.#removeMuch();
      if (command.includes('BATCH')) return command.replace('BATCH', await this.#heldBatch());
      return command
        .replace('PACKAGE', 'apple-1.0-r0')
        .replace('rsync://mirror.example.net/repository/', '/srv/repository/');
    });
  }

  /** Runs the commands of a document in order, each with the exit code that is meant. */
  async follow(
    file: string,
    after?: (command: string, ran: Ran) => Promise<void>,
    before: (command: string) => Promise<string> = async (command) => command,
  ): Promise<void> {
    for (const { place, text } of commandsOf(file)) {
      if (notRun.some(({ match }) => match.test(text))) continue;
      const command = await before(text);
      const ran = await this.#host.run(command);
      const codes = Object.entries(meant).find(([start]) => text.startsWith(start))?.[1] ?? [0];
      assert.ok(codes.includes(ran.code ?? -1), `${place}: ${command}: exit ${ran.code}\n${ran.out}${ran.err}`);
      await after?.(text, ran);
    }
  }

  async ok(script: string): Promise<Ran> {
    const ran = await this.#host.run(script);
    assert.equal(ran.code, 0, `${script}\n${ran.out}${ran.err}`);
    return ran;
  }

  /** The owner pastes what was printed; the operator compares the host key and says it. */
  async #joined(printed: string): Promise<void> {
    const [owner, again] = piecesOf(printed);
    const told = await this.ok(owner?.script ?? '');
    const fingerprint = /SHA256:\S+/.exec(told.out)?.[0];
    assert.ok(fingerprint !== undefined && again?.title.includes(fingerprint), 'the host key is what its owner sees');
    await this.ok(again?.script ?? '');
  }

  /** A mirror of each kind has what is published. */
  async #untilEverywhere(): Promise<void> {
    const places = ['/srv/lyon', '/srv/jail/repository', '/mnt/mirror', '/srv/store/bucket/repository', '/srv/oslo'];
    const look = places.map((place) => `cmp /srv/mirror/public/lockstep.json ${place}/lockstep.json`).join('; ');
    for (const deadline = performance.now() + waitMs; performance.now() < deadline; await sleep(200))
      if ((await this.#host.run(look)).code === 0) return;
    await this.ok(`${look}; lockstepd status`);
  }

  async #untilServed(): Promise<void> {
    for (const deadline = performance.now() + waitMs; performance.now() < deadline; await sleep(100)) {
      const { code } = await this.#host.run(
        'cmp -s main/x86_64/APKINDEX.tar.gz /srv/repository/main/x86_64/APKINDEX.tar.gz && lockstepd status > /dev/null',
      );
      if (code === 0) return;
    }
    assert.fail(
      `the mirror is not in step: ${(await this.#host.run('lockstepd status; tail -n 5 /var/log/lockstepd.log')).out}`,
    );
  }

  /** The builder drops two of three packages: that waits for a person. */
  async #removeMuch(): Promise<void> {
    for (const name of ['banana', 'cherry']) this.#packages.remove(name);
    await this.#packages.write(this.#host.path('/root'));
    await this.ok('rsync -rt main repoupload-example@primary.example.org:/');
  }

  async #heldBatch(): Promise<string> {
    for (const deadline = performance.now() + waitMs; performance.now() < deadline; await sleep(100)) {
      const { out } = await this.#host.run('lockstepd status --json');
      const { batches } = JSON.parse(out) as { batches: { id: string; state: string }[] };
      const held = batches.find(({ state }) => state === 'held');
      if (held !== undefined) return held.id;
    }
    return assert.fail('no batch is held');
  }
}
