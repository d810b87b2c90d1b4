/** Writes the completions for bash: a table of what each form of a command takes, and one function that reads it. Asks nobody. */
import type { ArgumentSpec, OptionSpec, SyntaxSpec, TypedSpec } from './spec.ts';

/** A script that bash reads by `source`, or as a file of bash-completion. */
export function bashCompletion(specs: readonly TypedSpec[]): string {
  const forms = specs.flatMap((spec): [string, SyntaxSpec][] => {
    const subs = Object.entries(spec.subcommands ?? {});
    return [
      [spec.name, subs.length === 0 ? spec : chooses(subs.map(([name]) => name))],
      ...subs.map(([name, syntax]): [string, SyntaxSpec] => [`${spec.name}/${name}`, syntax]),
    ];
  });
  const table = [['', chooses(specs.map(({ name }) => name))] as const, ...forms];
  return `# Completions of lockstepd for bash, made by: lockstepd completion bash
${engine(forms.map(([form]) => form))}
_lockstepd_form() {
  case $1 in
${table.map(([form, syntax]) => formLine(form, syntax)).join('\n')}
  esac
}

complete -F _lockstepd lockstepd
`;
}

function chooses(names: readonly string[]): SyntaxSpec {
  return { arguments: [{ name: 'COMMAND', kind: 'text', choices: Object.fromEntries(names.map((n) => [n, ''])) }] };
}

function formLine(form: string, { arguments: operands = [], options = {} }: SyntaxSpec): string {
  const names = [...Object.keys(options).map((name) => `--${name}`), '--help', ...(form === '' ? ['--version'] : [])];
  const taking = Object.entries(options)
    .filter(([, { value, bare }]) => value !== undefined && bare === undefined)
    .map(([name, option]) => `--${name}:${offer(option)}`);
  const many = operands.at(-1)?.many === true ? 1 : 0;
  return `    '${form}') options='${names.join(' ')}' taking='${taking.join(' ')}' operands='${operands.map(offer).join(' ')}' many=${many} ;;`;
}

/** What is offered for a value: `=a|b` or a kind; `-` for nothing. */
function offer({ kind = 'text', choices }: OptionSpec | ArgumentSpec): string {
  if (choices !== undefined) return `=${Object.keys(choices).join('|')}`;
  return kind === 'text' || kind === 'number' ? '-' : kind;
}

/** `--config=x` comes as three words, as = parts words in bash. */
function engine(forms: readonly string[]): string {
  return `
_lockstepd_names() {
  local i at
  local -a config=()
  for ((i = 1; i < \${#COMP_WORDS[@]} - 1; i++)); do
    [[ \${COMP_WORDS[i]} == --config ]] || continue
    at=$((i + 1))
    [[ \${COMP_WORDS[at]} == = ]] && at=$((i + 2))
    config=(--config "\${COMP_WORDS[at]-}")
  done
  "\${COMP_WORDS[0]}" completion names "$1" "\${config[@]}" 2>/dev/null </dev/null
}

# Offers what begins with $1 out of the lines of stdin. Nothing in them is evaluated, as compgen -W would.
_lockstepd_matching() {
  local line
  while IFS= read -r line; do
    [[ $line == "$1"* ]] && COMPREPLY+=("$line")
  done
}

_lockstepd_offer() {
  case $1 in
    mirror | batch | repository) _lockstepd_matching "$2" < <(_lockstepd_names "$1") ;;
    file | directory)
      compopt -o filenames 2>/dev/null
      _lockstepd_matching "$2" < <(compgen -"\${1:0:1}" -- "$2")
      ;;
    =*) _lockstepd_matching "$2" < <(IFS='|' && printf '%s\\n' \${1#=}) ;;
  esac
}

_lockstepd() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  local form='' seen=0 i word options taking operands many
  local forms=' ${forms.join(' ')} '
  COMPREPLY=()
  if [[ $cur == = ]]; then
    cur=''
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  _lockstepd_form ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $word == -* ]]; then
      [[ \${COMP_WORDS[i + 1]} == = ]] && ((i++))
      [[ " $taking" == *" $word:"* || \${COMP_WORDS[i]} == = ]] && ((i++))
    elif [[ $seen == 0 && $forms == *" \${form:+$form/}$word "* ]]; then
      form=\${form:+$form/}$word
      _lockstepd_form "$form"
    else
      ((seen++))
    fi
  done
  for word in $taking; do
    if [[ $word == "$prev:"* ]]; then
      _lockstepd_offer "\${word#"$prev:"}" "$cur"
      return
    fi
  done
  if [[ $cur == -* ]]; then
    _lockstepd_matching "$cur" < <(printf '%s\\n' $options)
    return
  fi
  local -a kinds=($operands)
  ((many && seen >= \${#kinds[@]})) && seen=$((\${#kinds[@]} - 1))
  _lockstepd_offer "\${kinds[seen]-}" "$cur"
}
`;
}
