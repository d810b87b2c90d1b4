import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { command } from '../../src/cli/check.ts';
import { UsageError } from '../../src/errors.ts';
import { good as bare, world } from '../config/world.ts';

/** With a URL: nothing is warned of. */
const good = bare.replace('  - name: paris', '  - name: paris\n    url: https://mirror.example.fr/');

async function run(args: readonly string[], env: Record<string, string> = {}) {
  let [out, err] = ['', ''];
  const code = await command.run(args, {
    out: (text) => (out += text),
    err: (text) => (err += text),
    terminal: false,
    env,
    signal: new AbortController().signal,
  });
  return { code, out, err };
}

test('check says ok with what it counted', async (t) => {
  const { directory } = world(t);
  const file = join(directory, 'lockstepd.yaml');
  writeFileSync(file, good.replaceAll('$T', directory));
  assert.deepEqual(await run(['--config', file]), { code: 0, out: `${file}: ok: 1 inbox, 1 mirror\n`, err: '' });
});

test('check says every problem on stderr and exits with 78', async (t) => {
  const { directory } = world(t);
  const file = join(directory, 'lockstepd.yaml');
  writeFileSync(
    file,
    good
      .replaceAll('$T', directory)
      .replace('paris', 'b\u202ed')
      .replace('mirrors:', 'workers: 0\n"a\\nb": 1\nmirrors:'),
  );
  assert.deepEqual(await run(['--config', file]), {
    code: 78,
    out: '',
    err:
      `${file}:8:10: workers: 0, expected a whole number from 1 to 16\n` +
      `${file}:9:1: a\\u{a}b: unknown key, expected one of root, state, socket, listen, listen_public, workers, inboxes, publish, guards, reserve, quarantine, mirrors, limits, switch, announce, hooks, schedule, scrub, log\n` +
      `${file}:11:11: mirrors[0].name: "b\\u{202e}d", expected a name of 1 to 63 letters, digits, dots, dashes and underscores\n`,
  });
});

test('check warns of an open address and of what only systemd hands over, and still passes', async (t) => {
  const { directory } = world(t);
  const file = join(directory, 'lockstepd.yaml');
  const text = good.replace('$T/identity', 'credential:identity').replace('mirrors:', 'listen: 0.0.0.0:9617\nmirrors:');
  writeFileSync(file, text.replaceAll('$T', directory));
  const open = `${file}: warning: listen: 0.0.0.0 is no loopback address: whoever reaches it reads the status page and the metrics\n`;
  const credential = `${file}: warning: mirror paris: /run/credentials/lockstepd.service/identity was not looked at: systemd hands it over when the service starts\n`;
  const out = `${file}: ok: 1 inbox, 1 mirror\n`;
  assert.deepEqual(await run(['--config', file]), { code: 0, out, err: open + credential });
  const inService = await run([`--config=${file}`], { CREDENTIALS_DIRECTORY: directory });
  assert.deepEqual(inService, { code: 0, out, err: open });
});

test('check warns of a key scope that matches nothing', async (t) => {
  const { directory } = world(t);
  const file = join(directory, 'lockstepd.yaml');
  writeFileSync(file, good.replace('$T/keys', '{ dir: $T/keys, may_sign: [edge/x86] }').replaceAll('$T', directory));
  assert.deepEqual(await run(['--config', file]), {
    code: 0,
    out: `${file}: ok: 1 inbox, 1 mirror\n`,
    err: `${file}: warning: inbox one: may_sign edge/x86 of ${directory}/keys matches no repository that the inbox may hold\n`,
  });
});

test('check refuses arguments that it does not know', async () => {
  for (const args of [['--confg', 'x'], ['file.yaml'], ['--config']]) {
    await assert.rejects(run(args), UsageError, args.join(' '));
  }
});

test('check warns of a mirror that nobody may be able to look at', async (t) => {
  const { directory } = world(t);
  const file = join(directory, 'lockstepd.yaml');
  writeFileSync(file, bare.replaceAll('$T', directory));
  const { code, err } = await run(['--config', file]);
  assert.equal(code, 0);
  assert.equal(
    err,
    `${file}: warning: mirror paris: nobody can see what it holds while its account may only write: give its url, or let the account read\n`,
  );
});
