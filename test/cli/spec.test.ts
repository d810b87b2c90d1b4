import assert from 'node:assert/strict';
import test from 'node:test';
import { readArgs, readSubcommand } from '../../src/cli/arguments.ts';
import { commands } from '../../src/cli/commands.ts';
import { renderHelp, renderOverview } from '../../src/cli/help.ts';
import { type CommandSpec, configOption, formsOf, optionsOf } from '../../src/cli/spec.ts';
import { specs } from '../../src/cli/specs/all.ts';
import { UsageError } from '../../src/errors.ts';
import { invocationsIn } from '../support/shell-line.ts';

const parse = (spec: CommandSpec, args: readonly string[]): unknown =>
  spec.subcommands === undefined ? readArgs(spec, args) : readSubcommand(spec, args);

test('every command has a spec, and loads with that one', async () => {
  assert.deepEqual(
    Object.keys(commands),
    specs.map(({ name }) => name),
  );
  for (const spec of specs) assert.equal((await commands[spec.name]?.())?.spec, spec, spec.name);
});

for (const spec of specs) {
  test(`${spec.name}: each example is one that its parser accepts`, () => {
    assert.ok(spec.examples.length > 0);
    for (const { command, does } of spec.examples) {
      const calls = invocationsIn(command);
      assert.ok(
        calls.some(([name]) => name === spec.name),
        `${command} shows ${spec.name}`,
      );
      for (const [name, ...args] of calls) {
        const called = specs.find((other) => other.name === name);
        assert.ok(called, `${command}: there is a command ${name}`);
        parse(called, args);
      }
      assert.match(does, /^[^A-Z].*[^.]$/s);
    }
  });

  test(`${spec.name}: everything is described, in lines that fit`, () => {
    assert.match(spec.summary, /^[a-z].*[^.]$/);
    for (const { name, option } of optionsOf(spec)) {
      assert.match(option.text, /^\S.*[^.\s]$/s, `--${name}`);
      assert.equal(option.kind !== undefined && option.value === undefined, false, `--${name}: a flag has no kind`);
    }
    for (const { name, syntax } of formsOf(spec)) {
      const early = (syntax.arguments ?? []).slice(0, -1);
      assert.ok(
        early.every(({ optional, many }) => optional === undefined && many === undefined),
        `${name}: only the last argument may be optional or many`,
      );
    }
    for (const columns of [80, 100, undefined, 300]) {
      const text = renderHelp(spec, columns);
      const shown = new Set(spec.examples.map(({ command }) => `  ${command}`));
      const long = text.split('\n').filter((line) => line.length > Math.min(100, columns ?? 100) && !shown.has(line));
      assert.deepEqual(long, []);
      assert.equal(/[ \t]\n|\n{3}|\0|undefined/.test(text), false, text);
      for (const { name } of optionsOf(spec)) assert.ok(text.includes(`--${name}`), `--${name} is in the help`);
    }
  });

  test(`${spec.name}: options of one name mean the same to the parser in each subcommand`, () => {
    const kinds = new Map<string, boolean>();
    for (const { syntax } of formsOf(spec)) {
      for (const [name, { value }] of Object.entries(syntax.options ?? {})) {
        assert.equal(kinds.get(name) ?? value !== undefined, value !== undefined, `--${name}`);
        kinds.set(name, value !== undefined);
      }
    }
  });
}

test('the overview names every command once, in 80 columns', () => {
  const text = renderOverview(specs, '1.2.3', 80);
  for (const { name, summary } of specs) {
    const words = new RegExp(`^  ${name} +${summary.slice(0, 30).replaceAll(/[.*+?()[\]]/g, '\\$&')}`, 'm');
    assert.match(text, words);
  }
  assert.deepEqual(
    text.split('\n').filter((line) => line.length > 80),
    [],
  );
});

const show = {
  name: 'show',
  group: 'look',
  summary: 'show a thing',
  text: [],
  arguments: [
    { name: 'WHAT', kind: 'text', choices: { one: 'the first', two: '' } },
    { name: 'WHERE', kind: 'file', optional: true },
  ],
  options: {
    watch: { value: 'SECONDS', bare: '2', kind: 'number', short: 'w', text: 'go on' },
    to: { value: 'N', required: true, text: 'the end' },
    key: { value: 'KEY', multiple: true, text: 'a key' },
    how: { value: 'HOW', default: 'fast', choices: { fast: '', slow: 'with care' }, text: 'the way' },
    all: { text: 'everything' },
    config: configOption,
  },
  exitCodes: { 0: 'shown' },
  examples: [{ command: 'lockstepd show one --to 1', does: 'the first' }],
} as const satisfies CommandSpec;

test('a parser of a spec gives each value in its form', () => {
  const { values, operands } = readArgs(show, [
    'one',
    '--to',
    '3',
    '--watch',
    '--key=a',
    '--key',
    'b',
    '--config',
    'f',
  ]);
  const [what, where] = operands;
  const all: boolean = values.all;
  const how: 'fast' | 'slow' = values.how;
  assert.deepEqual([what, where, all, how], ['one', undefined, false, 'fast']);
  assert.deepEqual({ ...values }, { watch: '2', to: '3', key: ['a', 'b'], how: 'fast', all: false, config: 'f' });
  assert.equal(readArgs(show, ['one', '--to', '3', '--watch', '5']).values.watch, '5');
  assert.equal(readArgs(show, ['one', '--to', '3', '--watch=7']).values.watch, '7');
  assert.equal(readArgs(show, ['one', '--to', '3', '--watch', '--all']).values.watch, '2');
  assert.equal(readArgs(show, ['one', '--to', '3', '-w', '9']).values.watch, '9');
  assert.deepEqual(readArgs(show, ['--to', '3', '--', 'two', '--all']).operands, ['two', '--all']);
});

test('a parser of a spec says what is wrong, and where to look', () => {
  const wrong: [string[], string][] = [
    [['--to', '3'], 'show: no WHAT given: see lockstepd show --help'],
    [['three', '--to', '3'], 'show: WHAT: expected one or two, got "three"'],
    [['one'], 'show: no --to N given (the end): see lockstepd show --help'],
    [['one', 'a', 'b', '--to=3'], 'show: expected WHAT WHERE, got "one", "a", "b": see lockstepd show --help'],
    [['one', '--to=3', '--how', 'well'], 'show: --how: expected fast or slow, got "well"'],
    [['one', '--far'], "show: Unknown option '--far': see lockstepd show --help"],
    [['one', '--to', '-x'], 'show: --to: a value that begins with a dash: write --to=VALUE: see lockstepd show --help'],
  ];
  for (const [args, message] of wrong) assert.throws(() => readArgs(show, args), new UsageError(message));
  assert.throws(() => readArgs(show, ['one', '--too', '3']), /^UsageError: show: Unknown option '--too'/);
});

const pair = {
  ...show,
  name: 'pair',
  arguments: [],
  options: {},
  subcommands: {
    up: { text: 'go up', arguments: [{ name: 'NAME', kind: 'mirror' }], options: { config: configOption } },
    down: { text: 'go down', options: { config: configOption, far: { text: 'far' } } },
  },
} as const satisfies CommandSpec;

test('a subcommand is found wherever it stands, and has its own options', () => {
  const up = readSubcommand(pair, ['--config', 'down', 'up', 'paris']);
  assert.deepEqual([up.name, up.values.config, up.operands], ['up', 'down', ['paris']]);
  const down = readSubcommand(pair, ['--far', 'down']);
  assert.deepEqual([down.name, 'far' in down.values && down.values.far], ['down', true]);
  assert.throws(() => readSubcommand(pair, ['up', 'x', '--far']), /UsageError: pair up: Unknown option '--far'/);
  assert.throws(
    () => readSubcommand(pair, []),
    new UsageError('pair: expected up or down, got nothing: see lockstepd pair --help'),
  );
  assert.throws(
    () => readSubcommand(pair, ['toString']),
    new UsageError('pair: expected up or down, got "toString": see lockstepd pair --help'),
  );
  assert.match(renderHelp(pair), /--far +far \(for down\)/);
});
