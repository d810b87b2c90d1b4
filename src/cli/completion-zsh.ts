/** Writes the completions for zsh, in the words of its own _arguments. Asks nobody. */
import type { ArgumentSpec, OptionSpec, SyntaxSpec, TypedSpec, ValueKind } from './spec.ts';

/** A file for $fpath that can be read by `source` too. */
export function zshCompletion(specs: readonly TypedSpec[]): string {
  return `#compdef lockstepd
# Completions of lockstepd for zsh, made by: lockstepd completion zsh

# Called by _arguments with options of compadd before the kind.
_lockstepd_names() {
  local -a config names
  [[ -n \${opt_args[--config]-} ]] && config=(--config \${(Q)opt_args[--config]})
  names=(\${(f)"$(command $lockstepd_program completion names $argv[-1] $config 2>/dev/null </dev/null)"})
  compadd "\${@[1,-2]}" -- $names
}

_lockstepd() {
  local context state state_descr curcontext=$curcontext lockstepd_program=$words[1]
  local -a line
  local -A opt_args
  _arguments -C ${help} '--version[print the version]' \\
    '1:command:(${described(specs.map(({ name, summary }) => [name, summary]))})' '*::argument:->argument' && return
  [[ $state == argument ]] || return 1
  case $line[1] in
${specs.map(commandCase).join('\n')}
  esac
}

if [[ $funcstack[1] == _lockstepd ]]; then
  _lockstepd "$@"
else
  compdef _lockstepd lockstepd
fi
`;
}

const help = `'(-h --help)'{-h,--help}'[print help]'`;

function commandCase(spec: TypedSpec): string {
  if (spec.subcommands === undefined) return `    ${spec.name}) ${argumentsCall(spec)} ;;`;
  const subs = Object.entries(spec.subcommands);
  return `    ${spec.name})
      line=()
      _arguments -C ${help} '1:subcommand:(${described(subs.map(([name, { text }]) => [name, firstClause(text)]))})' \\
        '*::argument:->argument' && return
      [[ $state == argument ]] || return 1
      case $line[1] in
${subs.map(([name, syntax]) => `        ${name}) ${argumentsCall(syntax)} ;;`).join('\n')}
      esac
      ;;`;
}

function argumentsCall({ arguments: operands = [], options = {} }: SyntaxSpec): string {
  const words = [
    ...Object.entries(options).map(([name, option]) => optionWord(name, option)),
    ...operands.map((operand, i) => operandWord(operand, i + 1)),
  ];
  return ['_arguments', help, ...words].join(' ');
}

function optionWord(name: string, option: OptionSpec): string {
  const { value, bare, multiple, text } = option;
  const before = multiple === true ? '*' : '';
  const takes = value === undefined ? '' : '=';
  const after = value === undefined ? '' : `${bare === undefined ? ':' : '::'}${escaped(value)}:${action(option)}`;
  return `'${before}--${name}${takes}[${escaped(firstClause(text))}]${after}'`;
}

function operandWord(operand: ArgumentSpec, place: number): string {
  const { name, optional, many } = operand;
  return `'${many === true ? '*' : place}:${optional === true ? ':' : ''}${escaped(name)}:${action(operand)}'`;
}

const actions: Readonly<Record<ValueKind, string>> = {
  mirror: '_lockstepd_names mirror',
  batch: '_lockstepd_names batch',
  repository: '_lockstepd_names repository',
  file: '_files',
  directory: '_files -/',
  number: ' ',
  text: ' ',
};

function action({ kind = 'text', choices }: OptionSpec | ArgumentSpec): string {
  return choices === undefined ? actions[kind] : `(${Object.keys(choices).join(' ')})`;
}

/** The names with their descriptions, as `((a\:"b" …))` wants them without the outer parentheses. */
function described(rows: readonly (readonly [string, string])[]): string {
  return `(${rows.map(([name, text]) => `${name}\\:"${escaped(text).replaceAll('"', '\\"')}"`).join(' ')})`;
}

/** The words up to the first semicolon, full stop or opening parenthesis. */
function firstClause(text: string): string {
  return text.split(/[;.:(]\s|\s\(/)[0] ?? text;
}

/** For a place within single quotes where [, ] and : part fields. */
function escaped(text: string): string {
  return text.replaceAll(/[\\[\]:$`]/g, '\\$&').replaceAll("'", "'\\''");
}
