import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { typedSpecs } from '../../src/cli/completion.ts';
import { bashCompletion } from '../../src/cli/completion-bash.ts';
import { fishCompletion } from '../../src/cli/completion-fish.ts';
import { zshCompletion } from '../../src/cli/completion-zsh.ts';
import { specs } from '../../src/cli/specs/all.ts';
import { childEnvironment, exec } from '../../src/system/exec.ts';
import { Primary } from '../support/primary.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');
const names = specs.map(({ name }) => name);

/** What is offered for a line whose last word is being typed. */
type Offers = (line: string) => Promise<string[]>;

/** What every shell must offer, with a `lockstepd` in the path whose names are those of `stub`. */
const lines: [string, readonly string[]][] = [
  ['lockstepd ', [...names, 'help']],
  ['lockstepd help ', names],
  ['lockstepd help pr', ['preview', 'prune']],
  ['lockstepd help push ', []],
  ['lockstepd pr', ['preview', 'prune']],
  ['lockstepd push ', ['paris', 'prague', 'rome']],
  ['lockstepd push pr', ['prague']],
  ['lockstepd push rome ', []],
  ['lockstepd mirror ', ['block', 'unblock']],
  ['lockstepd mirror block p', ['paris', 'prague']],
  ['lockstepd mirror block --reason x p', ['paris', 'prague']],
  ['lockstepd approve --config /etc/hosts ', ['of /etc/hosts']],
  ['lockstepd status --js', ['--json']],
  ['lockstepd mirror block --re', ['--reason']],
  ['lockstepd mirror unblock --re', []],
  ['lockstepd verify --package-signatures i', ['if-present', 'ignore']],
  ['lockstepd adopt --missing ', ['hold', 'publish']],
  ['lockstepd history --limit ', []],
  ['lockstepd verify one.apk t', ['two.apk']],
  ['lockstepd verify --keys k', ['keys']],
  ['lockstepd check --config o', ['one.apk']],
  ['lockstepd rollback --repository ', ['paris', 'prague', 'rome']],
];

const stub = `#!/bin/sh
test "$1" = completion && test "$2" = names || exit 9
if test "$3" = batch; then echo "of $5"; else printf 'paris\\nprague\\nrome\\n'; fi
`;

async function world(t: TestContext): Promise<{ directory: string; env: Record<string, string> }> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstepd-completion-'));
  t.after(() => rm(directory, { recursive: true }));
  await mkdir(join(directory, 'bin'));
  await mkdir(join(directory, 'here/keys'), { recursive: true });
  for (const file of ['one.apk', 'two.apk']) await writeFile(join(directory, 'here', file), '');
  await writeFile(join(directory, 'bin/lockstepd'), stub);
  await chmod(join(directory, 'bin/lockstepd'), 0o755);
  return {
    directory,
    env: { ...childEnvironment(), HOME: directory, PATH: `${directory}/bin:${process.env.PATH}`, TERM: 'dumb' },
  };
}

async function offersEach(t: TestContext, offers: Offers): Promise<void> {
  for (const [line, expected] of lines) {
    await t.test(line, async () => {
      const offered = (await offers(line)).map((word) => word.replace(/\/$/, '').replaceAll('\\', ''));
      assert.deepEqual(offered.toSorted(), [...expected].toSorted());
    });
  }
}

test('bash completes', async (t) => {
  const { directory, env } = await world(t);
  const file = join(directory, 'completion.bash');
  await writeFile(file, bashCompletion(typedSpecs));
  const offers: Offers = async (line) => {
    const words = line.split(' ');
    const script =
      'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lockstepd; printf "%s\\n" "${COMPREPLY[@]}"';
    const { code, stdout, stderr } = await exec(['bash', '-c', script, 'bash', file, ...words], {
      env,
      timeoutMs: 120_000,
      cwd: join(directory, 'here'),
    });
    assert.deepEqual([code, stderr], [0, '']);
    return stdout.split('\n').filter((word) => word !== '');
  };
  await offersEach(t, offers);
  assert.deepEqual(await offers('lockstepd adopt --missing = h'), ['hold'], 'bash parts words at =');
  await writeFile(join(directory, 'bin/lockstepd'), "#!/bin/sh\necho 'pa$(touch made)'\n");
  assert.deepEqual(await offers('lockstepd push p'), ['pa$(touch made)'], 'a name is offered as it is');
  assert.equal(existsSync(join(directory, 'here/made')), false, 'and never evaluated');
  await writeFile(join(directory, 'bin/lockstepd'), '#!/bin/sh\necho >&2 no daemon\nexit 75\n');
  assert.deepEqual(await offers('lockstepd push '), []);
});

test('fish completes', async (t) => {
  if (!existsSync('/usr/bin/fish')) return t.skip('fish absent');
  const { directory, env } = await world(t);
  const file = join(directory, 'lockstepd.fish');
  await writeFile(file, fishCompletion(typedSpecs));
  await offersEach(t, async (line) => {
    const { code, stdout, stderr } = await exec(
      ['fish', '--no-config', '-c', 'source $argv[1]; complete -C $argv[2]', file, line],
      { env, timeoutMs: 120_000, cwd: join(directory, 'here') },
    );
    assert.deepEqual([code, stderr], [0, '']);
    const offered = stdout.split('\n').filter((word) => word !== '');
    return offered.map((word) => word.replace(/\t.*/, ''));
  });
});

/** Hooks compadd, so that what would be listed is printed instead. */
const zshCapture = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PROMPT= RPROMPT= PS2=; autoload -Uz compinit; compinit -u -D; setopt no_beep no_list_beep; source '$1
zpty -w shell 'compadd () { if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)* ]]; then builtin compadd "$@"; return; fi
  local -a hits; builtin compadd -O hits "$@"; local hit; for hit in $hits; do print -r -- "offered:$hit"; done
  builtin compadd "$@" }'
zpty -w shell 'finish () { compstate[insert]= compstate[list]=; print -r -- end-of-offers }; comppostfuncs=(finish)'
zpty -w shell 'bindkey "^I" complete-word; print ready-$((1+1))'
while zpty -r shell out; do [[ $out == *ready-2* ]] && break; done
for line in "\${@[2,-1]}"; do
  zpty -w -n shell $'\\C-u'$line$'\\t'
  while zpty -r shell out; do
    [[ $out == *offered:* ]] && print -r -- \${\${out#*offered:}%%$'\\r'*}
    [[ $out == *end-of-offers* ]] && break
  done
  print -r -- ----
  zpty -w shell $'\\C-u'
  zpty -w shell 'comppostfuncs=(finish)'
done
zpty -d shell
`;

test('zsh completes', async (t) => {
  if (!existsSync('/usr/bin/zsh')) return t.skip('zsh absent');
  const { directory, env } = await world(t);
  const file = join(directory, '_lockstepd');
  await writeFile(file, zshCompletion(typedSpecs));
  const { stdout, stderr } = await exec(['zsh', '-f', '-c', zshCapture, 'zsh', file, ...lines.map(([line]) => line)], {
    env,
    timeoutMs: 300_000,
    cwd: join(directory, 'here'),
  });
  const blocks = stdout.split('----\n');
  assert.equal(blocks.length, lines.length + 1, stdout + stderr);
  const offered = new Map(lines.map(([line], i) => [line, blocks[i]?.split('\n').filter((word) => word !== '') ?? []]));
  await offersEach(t, (line) => {
    // Where nothing else is left, zsh offers options of its own accord; a directory comes once as such and once as a file.
    const words = [...new Set(offered.get(line) ?? [])];
    return Promise.resolve(/ -\S*$/.test(line) ? words : words.filter((word) => !word.startsWith('-')));
  });
});

test('names are those of the daemon, and nothing where none answers', async () => {
  await using primary = await Primary.create();
  const mirror = (name: string) =>
    `  - { name: ${name}, transport: { type: directory, path: ${join(primary.directory, 'mirrors')}/${name} } }`;
  await primary.configure({ mirrors: ['paris', 'rome'].map(mirror).join('\n') });
  const ask = (kind: string, config = primary.configFile) =>
    exec([process.execPath, main, 'completion', 'names', kind, '--config', config], {
      env: childEnvironment(),
      timeoutMs: 120_000,
    });
  for (const config of [primary.configFile, '/nowhere.yaml']) {
    const { code, stdout, stderr } = await ask('mirror', config);
    assert.deepEqual([code, stdout, stderr], [0, '', '']);
  }
  await primary.start();
  assert.equal((await ask('mirror')).stdout, 'paris\nrome\n');
  assert.equal((await ask('batch')).stdout, '');
  assert.equal((await ask('host')).code, 2);
});

test('the command prints each script', async () => {
  for (const [shell, script] of [
    ['bash', bashCompletion(typedSpecs)],
    ['zsh', zshCompletion(typedSpecs)],
    ['fish', fishCompletion(typedSpecs)],
  ] as const) {
    const { stdout } = await exec([process.execPath, main, 'completion', shell], {
      env: childEnvironment(),
      timeoutMs: 120_000,
    });
    assert.equal(stdout, script);
  }
});
