/** What a command is, said once: its parser, `--help`, man page and completions are made of this. Plain data, loaded without the command. */

/** What a value means: tells completions what to offer. */
export type ValueKind = 'mirror' | 'batch' | 'repository' | 'file' | 'directory' | 'number' | 'text';

/** The values that are allowed, each with what it does; an empty text where the name says it. */
export type Choices = Readonly<Record<string, string>>;

/** One option; its key in `options` is its long name without the dashes. */
export interface OptionSpec {
  readonly text: string;
  /** One letter. */
  readonly short?: string;
  /** The placeholder of its value, in capitals; absent: a flag. */
  readonly value?: string;
  /** Absent: text. */
  readonly kind?: ValueKind;
  readonly choices?: Choices;
  /** The value when the option is not given. */
  readonly default?: string;
  /** The value when the option is given without one: makes the value optional. */
  readonly bare?: string;
  readonly required?: true;
  readonly multiple?: true;
}

/** A positional argument. Only the last one may be optional or many. */
export interface ArgumentSpec {
  /** The placeholder, in capitals. */
  readonly name: string;
  readonly kind: ValueKind;
  /** Absent where the name says it. */
  readonly text?: string;
  readonly choices?: Choices;
  readonly optional?: true;
  /** One or more. */
  readonly many?: true;
}

/** What the parser needs to know: of a command without subcommands, or of one subcommand. */
export interface SyntaxSpec {
  readonly arguments?: readonly ArgumentSpec[];
  readonly options?: Readonly<Record<string, OptionSpec>>;
}

interface SubcommandSpec extends SyntaxSpec {
  readonly text: string;
}

interface Example {
  /** A line for a shell. */
  readonly command: string;
  readonly does: string;
}

export const groups = {
  look: 'Look',
  act: 'Decide and act',
  daemon: 'The daemon',
  setup: 'Set up and check',
  shell: 'Help for shells and other programs',
} as const;

export interface CommandSpec extends SyntaxSpec {
  readonly name: string;
  readonly group: keyof typeof groups;
  /** One line for the list of commands: lower case, no full stop. */
  readonly summary: string;
  /** Paragraphs. */
  readonly text: readonly string[];
  /** Instead of `arguments` and `options`. Where two have an option of the same name, both take a value or none does. */
  readonly subcommands?: Readonly<Record<string, SubcommandSpec>>;
  /** What the codes mean that this command ends with, beyond 1 (failure) and 2 (usage) where nothing special is to be said. */
  readonly exitCodes: Readonly<Record<number, string>>;
  /** At least one. */
  readonly examples: readonly Example[];
}

/** What completions need to know of a command. */
export type TypedSpec = SyntaxSpec & Pick<CommandSpec, 'name' | 'summary' | 'subcommands'>;

export const defaultConfigFile = '/etc/lockstepd/lockstepd.yaml';

/** `--config`, as every command has it that needs the configuration. */
export const configOption = {
  value: 'FILE',
  kind: 'file',
  default: defaultConfigFile,
  text: 'the configuration of the daemon',
} as const satisfies OptionSpec;

/** `--json`, where the whole document is all that there is to say. */
export const jsonOption = { text: 'print JSON' } as const satisfies OptionSpec;

/** What the exit codes of a command that asks the daemon mean, beside its own. */
export const daemonExitCodes = { 0: 'done', 75: 'no daemon answers' } as const;

/** The forms of a command with their names: itself, or its subcommands (`mirror block`). */
export function formsOf(spec: CommandSpec): { readonly name: string; readonly syntax: SyntaxSpec }[] {
  if (spec.subcommands === undefined) return [{ name: spec.name, syntax: spec }];
  return Object.entries(spec.subcommands).map(([sub, syntax]) => ({ name: `${spec.name} ${sub}`, syntax }));
}

/** Every option of the command, with the subcommands that have it; empty where all have it. */
export function optionsOf(spec: CommandSpec): { name: string; option: OptionSpec; only: readonly string[] }[] {
  const found = new Map<string, { option: OptionSpec; only: string[] }>();
  const subcommands: readonly (readonly [string, SyntaxSpec])[] = Object.entries(spec.subcommands ?? { '': spec });
  for (const [sub, { options = {} }] of subcommands) {
    for (const [name, option] of Object.entries(options)) {
      const seen = found.get(name);
      if (seen === undefined) found.set(name, { option, only: [sub] });
      else seen.only.push(sub);
    }
  }
  return [...found].map(([name, { option, only }]) => ({
    name,
    option,
    only: only.length === subcommands.length ? [] : only,
  }));
}

/** Every argument of the command that needs words: one of each name. */
export function argumentsOf(spec: CommandSpec): ArgumentSpec[] {
  const all = formsOf(spec).flatMap(({ syntax }) => syntax.arguments ?? []);
  return all.filter((argument, i) => all.findIndex(({ name }) => name === argument.name) === i);
}

/** The words of a form after its name: `MIRROR`, `[--force]`, `--to N`. */
export function usageWords({ arguments: operands = [], options = {} }: SyntaxSpec): string[] {
  return [
    ...operands.map(({ name, optional, many }) => {
      const word = many === true ? `${name}...` : name;
      return optional === true ? `[${word}]` : word;
    }),
    ...Object.entries(options)
      .toSorted(([, a], [, b]) => Number(b.required ?? false) - Number(a.required ?? false))
      .map(([name, option]) => {
        const word = `--${name}${valueText(option)}`;
        if (option.required === true) return word;
        return option.multiple === true ? `[${word}]...` : `[${word}]`;
      }),
  ];
}

/** ` FILE`, `[=SECONDS]`, ` a|b`, or nothing for a flag. */
export function valueText({ value, choices, bare }: OptionSpec): string {
  if (value === undefined) return '';
  const named = choices === undefined ? value : Object.keys(choices).join('|');
  return bare === undefined ? ` ${named}` : `[=${named}]`;
}
