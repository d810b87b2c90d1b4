/** `npm run docs:debian`: follows the README in a fresh Debian 12 with its own systemd, from the package to a mirror in step. */
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Container, enter, makeDebian, whyNoDebian } from '../package/container.ts';
import { runs } from '../package/run.ts';
import { Operator } from '../support/operator.ts';
import type { Host } from '../support/scratch-host.ts';

const usage = `Usage: npm run docs:debian -- [--base DIRECTORY]

Follows the README in a Debian 12 of its own. Needs root, debootstrap, cgroup2 and Debian's archive; takes some minutes.

  --base DIRECTORY   a Debian that package:try made, copied instead of made anew
`;
const repository = resolve(import.meta.dirname, '../..');
const began = Date.now();
const say = (text: string): void =>
  void process.stdout.write(`${((Date.now() - began) / 1000).toFixed(0).padStart(4)} s  ${text}\n`);

const { values } = parseArgs({ options: { base: { type: 'string' }, help: { type: 'boolean' } } });
const problem = whyNoDebian();
if (values.help === true) process.stdout.write(usage);
else if (problem !== null) throw new Error(problem);
else await tryReadme(values.base);

async function tryReadme(base: string | undefined): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'lockstepd-docs-'));
  const root = join(scratch, 'root');
  try {
    if (base === undefined) await makeDebian(root);
    else await runs(['cp', '-a', base, root], { timeoutMs: 300_000 });
    say('a Debian is there');
    const build = join(repository, 'systemd/deb/build.ts');
    await runs([process.execPath, build, '--compression', 'zstd', '--out', scratch], { timeoutMs: 300_000 });
    const [deb = ''] = readdirSync(scratch).filter((name) => name.endsWith('.deb'));
    cpSync(join(scratch, deb), join(root, 'root/lockstepd.deb'));
    const packages = ['systemd', 'dbus', 'openssh-server', 'nginx-light', 'curl'];
    await enter(
      root,
      ['apt-get', 'install', '-q', '-y', '--no-install-recommends', '/root/lockstepd.deb', 'python3', ...packages],
      {
        timeoutMs: 600_000,
      },
    );
    say('the package is installed');
    writeFileSync(
      join(root, 'etc/hosts'),
      '127.0.0.1 localhost primary.example.org mirror.example.net oslo.example.net\n',
    );
    await using container = await Container.boot(root);
    say('systemd runs');
    const host: Host = {
      run: async (script) => {
        const { code, stdout, stderr } = await container.tries(
          'bash',
          '--norc',
          '-euc',
          `exec < /dev/null; cd /root; ${script}`,
        );
        return { code, out: stdout, err: stderr };
      },
      path: (path) => join(root, path),
      write: (path, text) => writeFileSync(join(root, path), text),
    };
    const operator = new Operator(host);
    await operator.prepare();
    say('builder, mirror and web server are there; the operator begins');
    await operator.readme();
    say('the mirror is in step');
    await operator.again();
    say('init was run again and changed nothing');
    process.stdout.write((await operator.ok('lockstepd doctor || true')).out);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
