import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { widthOf } from '../../src/observe/terminal.ts';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary } from '../support/primary.ts';
import { hasScript, lastScreen, Terminal, withoutColours } from '../support/terminal.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');
const longName = 'a-mirror-with-quite-a-long-name.of-a-far.example.org';

test('status on a terminal: in colours, within its width, problems first; --watch redraws and outlives the daemon', async (t) => {
  if (!hasScript) return t.skip('script absent');
  await using primary = await Primary.create();
  const mirror = (name: string, path: string) => `  - { name: ${name}, transport: { type: directory, path: ${path} } }`;
  await primary.configure({
    mirrors: [mirror('fine', join(primary.directory, 'mirrors')), mirror(longName, '/proc/nowhere')].join('\n'),
  });
  await primary.start();
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilInSync('fine', 1);
  await primary.until('the other one to be in trouble', async () =>
    (await primary.status()).mirrors.some(({ last_error: error }) => error !== null),
  );
  const config = ['--config', primary.configFile];
  const shown = async (columns: number, env: Record<string, string> = {}) => {
    await using terminal = new Terminal(['status', ...config], { columns, env });
    const code = await terminal.ended();
    return { code, output: terminal.output, lines: withoutColours(terminal.output).trimEnd().split(/\r?\n/) };
  };

  await t.test('wide', async () => {
    const { code, output, lines } = await shown(300);
    assert.equal(code, 3);
    assert.match(lines[2] ?? '', /^MIRROR +STATE +PUSHED +LAG +OBSERVED +LAG +LAST SUCCESS +NEXT ATTEMPT +REASON$/);
    assert.ok(lines[3]?.startsWith(longName), 'what is wrong comes first');
    assert.match(lines[4] ?? '', /^fine +in-sync +1 /);
    assert.ok(output.includes('\x1b[32mfine'));
  });

  await t.test('narrow', async () => {
    const { lines } = await shown(50);
    const table = lines.slice(2);
    assert.deepEqual(
      table.filter((line) => widthOf(line) > 50),
      [],
    );
    assert.match(table[1] ?? '', /^a-mirror-with-[^ ]*… /);
    assert.match(table[2] ?? '', /^ {2}\w+: /, 'the reason stands below');
    assert.match(table[3] ?? '', /^fine/);
  });

  await t.test('NO_COLOR, and a terminal that knows none', async () => {
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }])
      assert.equal((await shown(120, env)).output.includes('\x1b['), false);
  });

  await t.test('into a pipe: plain, in the order of the configuration', async () => {
    const { stdout, code } = await exec([process.execPath, main, 'status', ...config], {
      env: childEnvironment(),
      timeoutMs: 120_000,
    });
    assert.equal(code, 3);
    assert.equal(stdout.includes('\x1b'), false);
    assert.ok(stdout.split('\n')[3]?.startsWith('fine '));
  });

  await t.test('watch', async () => {
    await using terminal = new Terminal(['status', '--watch', '0.2', ...config], { columns: 60, rows: 7 });
    await terminal.until((output) => output.split('\x1b[H').length > 3);
    assert.equal(terminal.output.includes('\x1b[2J'), false, 'never blank in between');
    assert.ok(terminal.output.startsWith('\x1b[?1049h\x1b[?25l\x1b[H'));
    const lines = lastScreen(terminal.output);
    assert.deepEqual(
      lines.filter((line) => widthOf(line) > 60),
      [],
    );
    assert.equal(lines.length <= 7, true);
    await primary.stop();
    await terminal.until(/no daemon answers, asked again every 0\.2 s/);
    // What was known stays.
    await terminal.until((output) => /asked again[^]*1 of 2 mirrors in step/.test(lastScreen(output).join('\n')));
    await primary.start();
    await terminal.until((output) => lastScreen(output)[0]?.startsWith('1 of 2') === true);
    terminal.type('\x03');
    assert.equal(await terminal.ended(), 3, 'the code of what was shown last');
    const [, after = ''] = terminal.output.split('\x1b[?25h\x1b[?1049l');
    assert.match(withoutColours(after), /^1 of 2 mirrors in step/, 'the last state stays below');
  });
});

test('status --watch without a terminal: one text or one document each time, and 75 while no daemon answers', async () => {
  await using primary = await Primary.create();
  const config = ['--config', primary.configFile];
  /** Watches until so many lines were written, then ends it. */
  const watch = async (lines: number, ...args: string[]): Promise<{ code: number | null; stdout: string }> => {
    const child = spawn(process.execPath, [main, 'status', ...args, ...config], {
      env: childEnvironment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let stdout = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      if (stdout.split('\n').length > lines) child.kill();
    });
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, stdout };
  };
  const gone = await watch(2, '--watch', '0.2');
  assert.equal(gone.code, 75);
  assert.match(gone.stdout, /^no daemon answers, asked again every 0\.2 s\ndaemon at /);
  await primary.start();
  const json = await watch(2, '--watch=0.2', '--json');
  assert.equal(json.code, 0);
  const documents = json.stdout.trimEnd().split('\n');
  assert.ok(documents.length > 1);
  for (const line of documents) assert.equal((JSON.parse(line) as { version: number }).version, 1);
  for (const wrong of ['0', 'x', '9999']) {
    const { code } = await exec([process.execPath, main, 'status', '--watch', wrong, ...config], {
      env: childEnvironment(),
      timeoutMs: 120_000,
    });
    assert.equal(code, 2);
  }
});
