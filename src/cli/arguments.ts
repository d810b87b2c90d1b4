/** Reads a command's arguments by its spec: the types of what comes out follow from the spec, and so does every complaint. */
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import { messageOf, UsageError } from '../errors.ts';
import { type CommandSpec, type OptionSpec, type SyntaxSpec } from './spec.ts';

type Read<O> = O extends { value: string }
  ? O extends { multiple: true }
    ? readonly string[]
    :
        | (O extends { choices: infer C } ? keyof C & string : string)
        | (O extends { default: string } | { required: true } ? never : undefined)
  : boolean;

type Values<S> = S extends { options: infer O }
  ? { readonly [K in keyof O]: Read<O[K]> }
  : Readonly<Record<string, never>>;

type Operand<A> = A extends { choices: infer C } ? keyof C & string : string;

type Operands<S> = S extends { arguments: infer A extends readonly unknown[] }
  ? A extends readonly [{ many: true }]
    ? readonly [string, ...string[]]
    : { readonly [I in keyof A]: Operand<A[I]> | (A[I] extends { optional: true } ? undefined : never) }
  : readonly [];

/** The values of all options (a flag is true or false, an absent value undefined) and the positional arguments. */
export interface Arguments<S> {
  readonly values: Values<S>;
  readonly operands: Operands<S>;
}

/** Reads the arguments of a command without subcommands. Throws UsageError that begins with the command's name. */
export function readArgs<const S extends CommandSpec>(spec: S, args: readonly string[]): Arguments<S> {
  return read(spec.name, spec, args);
}

type Subcommands<C extends CommandSpec> = NonNullable<C['subcommands']>;

/** The same for a command with subcommands: `name` says which. */
export function readSubcommand<const C extends CommandSpec>(
  spec: C,
  args: readonly string[],
): { [N in keyof Subcommands<C>]: { readonly name: N } & Arguments<Subcommands<C>[N]> }[keyof Subcommands<C>] {
  const { subcommands = {} } = spec;
  const options = Object.assign({}, ...Object.values(subcommands).map(parserOptions)) as ParseArgsOptionsConfig;
  const first = parseArgs({
    args: [...args],
    options,
    allowPositionals: true,
    strict: false,
    tokens: true,
  }).tokens.find(({ kind }) => kind === 'positional');
  const name = first === undefined ? undefined : args[first.index];
  const found = name !== undefined && Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (name === undefined || first === undefined || found === undefined) {
    const got = name === undefined ? 'nothing' : JSON.stringify(name);
    throw new UsageError(`${spec.name}: expected ${orText(Object.keys(subcommands))}, got ${got}${seeHelp(spec.name)}`);
  }
  const rest = args.filter((_, i) => i !== first.index);
  return { name, ...read(`${spec.name} ${name}`, found, rest) };
}

function read(name: string, syntax: SyntaxSpec, args: readonly string[]): Arguments<never> {
  const { values, positionals } = parse(name, syntax, withBareValues(syntax, args));
  const complete: Record<string, unknown> = {};
  for (const [key, option] of Object.entries(syntax.options ?? {})) {
    const given = values[key];
    if (given === undefined && option.required === true)
      throw new UsageError(`${name}: no --${key}${valueHint(option)} given (${option.text})${seeHelp(name)}`);
    if (typeof given === 'string') requireChoice(`${name}: --${key}`, option.choices, given);
    complete[key] = given ?? absent(option);
  }
  requireOperands(name, syntax, positionals);
  return { values: complete, operands: positionals } as Arguments<never>;
}

function parse(name: string, syntax: SyntaxSpec, args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: parserOptions(syntax), allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${name}: ${firstSentence(messageOf(error))}${seeHelp(name)}`);
  }
}

/** What Node says after it is about other cases. */
function firstSentence(text: string): string {
  const [, option] = /^Option '(\S+)' argument is ambiguous/.exec(text) ?? [];
  return option === undefined
    ? text.replace(/\. [^]*/, '')
    : `${option}: a value that begins with a dash: write ${option}=VALUE`;
}

function parserOptions({ options = {} }: SyntaxSpec): ParseArgsOptionsConfig {
  return Object.fromEntries(
    Object.entries(options).map(([key, { value, short, multiple }]) => [
      key,
      {
        type: value === undefined ? 'boolean' : 'string',
        multiple: multiple ?? false,
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
}

/** parseArgs knows no optional values: `--watch` becomes `--watch=2` unless a value follows. */
function withBareValues({ options = {} }: SyntaxSpec, args: readonly string[]): string[] {
  return args.map((arg, i) => {
    const bare = arg.startsWith('--') ? options[arg.slice(2)]?.bare : undefined;
    const next = args[i + 1];
    return bare === undefined || (next !== undefined && !next.startsWith('-')) ? arg : `${arg}=${bare}`;
  });
}

function absent({ value, multiple, default: fallback }: OptionSpec): unknown {
  if (value === undefined) return false;
  return multiple === true ? [] : fallback;
}

function requireOperands(name: string, { arguments: specs = [] }: SyntaxSpec, given: readonly string[]): void {
  for (const [i, { name: what, optional, text, choices }] of specs.entries()) {
    const operand = given[i];
    if (operand !== undefined) requireChoice(`${name}: ${what}`, choices, operand);
    else if (optional !== true)
      throw new UsageError(`${name}: no ${what} given${text === undefined ? seeHelp(name) : `: expected ${text}`}`);
  }
  if (specs.at(-1)?.many === true || given.length <= specs.length) return;
  const expected = specs.length === 0 ? 'no argument' : specs.map(({ name: what }) => what).join(' ');
  throw new UsageError(
    `${name}: expected ${expected}, got ${given.map((word) => JSON.stringify(word)).join(', ')}${seeHelp(name)}`,
  );
}

function requireChoice(what: string, choices: OptionSpec['choices'], given: string): void {
  if (choices === undefined || Object.hasOwn(choices, given)) return;
  throw new UsageError(`${what}: expected ${orText(Object.keys(choices))}, got ${JSON.stringify(given)}`);
}

function valueHint({ value }: OptionSpec): string {
  return value === undefined ? '' : ` ${value}`;
}

function seeHelp(name: string): string {
  return `: see lockstepd ${name.split(' ')[0] ?? name} --help`;
}

/** `a, b or c` */
function orText(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;
}
