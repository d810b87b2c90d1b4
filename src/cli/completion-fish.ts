/** Writes the completions for fish: one line for each command, option and argument. Asks nobody. */
import type { ArgumentSpec, OptionSpec, SyntaxSpec, TypedSpec, ValueKind } from './spec.ts';

/** A file for $fish_complete_path. */
export function fishCompletion(specs: readonly TypedSpec[]): string {
  const taking = new Set<string>();
  for (const spec of specs)
    for (const syntax of [spec, ...Object.values(spec.subcommands ?? {})])
      for (const [name, { value, bare }] of Object.entries(syntax.options ?? {}))
        if (value !== undefined && bare === undefined) taking.add(`--${name}`);
  return `# Completions of lockstepd for fish, made by: lockstepd completion fish

# The arguments before the cursor without options and their values.
function __lockstepd_operands
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else if contains -- $word ${[...taking].join(' ')}
            set skip 1
        else if not string match -q -- '-*' $word
            echo -- $word
        end
    end
end

# True when the words after the first argument are what is before the cursor, and as many more as the first one says; * for any.
function __lockstepd_at
    set -l before (__lockstepd_operands)
    set -l form $argv[2..]
    set -l many (math (count $before) - (count $form))
    test $many -ge 0; or return 1
    test (count $form) = 0; or test "$before[1..$(count $form)]" = "$form"; or return 1
    test "$argv[1]" = '*'; or test $many = "$argv[1]"
end

function __lockstepd_names
    set -l words (commandline -opc)
    set -l config
    for i in (seq 2 (count $words))
        test "$words[$i]" = --config; and set config --config $words[(math $i + 1)]
        string match -q -- '--config=*' "$words[$i]"; and set config $words[$i]
    end
    command $words[1] completion names $argv[1] $config 2>/dev/null </dev/null
end

complete -c lockstepd -f
complete -c lockstepd -s h -l help -d 'print help'
complete -c lockstepd -n '__lockstepd_at 0' -l version -d 'print the version'
${specs.flatMap(linesOf).join('\n')}
`;
}

function linesOf(spec: TypedSpec): string[] {
  const lines = [`complete -c lockstepd -n '__lockstepd_at 0' -a ${spec.name} -d ${quoted(spec.summary)}`];
  if (spec.subcommands === undefined) return [...lines, ...syntaxLines(spec.name, spec)];
  const subs = Object.entries(spec.subcommands).flatMap(([sub, syntax]) => [
    `complete -c lockstepd -n '__lockstepd_at 0 ${spec.name}' -a ${sub} -d ${quoted(syntax.text)}`,
    ...syntaxLines(`${spec.name} ${sub}`, syntax),
  ]);
  return [...lines, ...subs];
}

function syntaxLines(form: string, { arguments: operands = [], options = {} }: SyntaxSpec): string[] {
  return [
    ...Object.entries(options).map(([name, option]) => {
      const takes = option.value === undefined || option.bare !== undefined ? '' : ` -r ${offers(option)}`;
      return `complete -c lockstepd -n '__lockstepd_at "*" ${form}' -l ${name}${takes} -d ${quoted(option.text)}`;
    }),
    ...operands.map((operand, i) => {
      const at = operand.many === true ? '"*"' : i;
      return `complete -c lockstepd -n '__lockstepd_at ${at} ${form}' ${offers(operand)}`;
    }),
  ];
}

const offersOf: Readonly<Record<ValueKind, string>> = {
  mirror: `-f -a '(__lockstepd_names mirror)'`,
  batch: `-f -a '(__lockstepd_names batch)'`,
  repository: `-f -a '(__lockstepd_names repository)'`,
  file: '-F',
  directory: `-f -a '(__fish_complete_directories)'`,
  number: '-f',
  text: '-f',
};

function offers({ kind = 'text', choices }: OptionSpec | ArgumentSpec): string {
  return choices === undefined ? offersOf[kind] : `-f -a ${quoted(Object.keys(choices).join(' '))}`;
}

function quoted(text: string): string {
  const line = text.split(/[;.:(]\s|\s\(/)[0] ?? text;
  return `'${line.replaceAll(/[\\']/g, '\\$&')}'`;
}
