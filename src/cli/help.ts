/** Writes `--help` of a command, and the list of all, from the specs. Asks nobody. */
import {
  argumentsOf,
  type Choices,
  type CommandSpec,
  formsOf,
  groups,
  optionsOf,
  usageWords,
  valueText,
} from './spec.ts';

/** Lines are no longer than this on wide terminals and where there is none. */
const widest = 100;
const narrowest = 50;

/** The whole text of `lockstepd COMMAND --help`; `columns` of the terminal, undefined for none. */
export function renderHelp(spec: CommandSpec, columns?: number): string {
  const width = widthFor(columns);
  const blocks = [
    usage(spec, width),
    wrap(sentence(spec.summary), width),
    ...spec.text.map((paragraph) => wrap(paragraph, width)),
    table('Subcommands', subcommandRows(spec), width),
    table('Arguments', argumentRows(spec), width),
    table('Options', optionRows(spec), width),
    table('Exit codes', exitRows(spec), width),
    examples(spec, width),
  ];
  return `${blocks
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

/** The text of `lockstepd --help`. */
export function renderOverview(specs: readonly CommandSpec[], version: string, columns?: number): string {
  const width = widthFor(columns);
  const longest = Math.max(...specs.map(({ name }) => name.length));
  const blocks = Object.entries(groups).map(([group, title]) => {
    const rows = specs.filter((spec) => spec.group === group).map(({ name, summary }) => [name, [summary]] as const);
    return table(title, rows, width, longest);
  });
  return `${[
    wrap(
      `lockstepd ${version}: keeps the mirrors of a signed package repository in lockstep with their primary`,
      width,
    ),
    ['Usage: lockstepd COMMAND [ARGUMENTS]'],
    ...blocks.filter((lines) => lines.length > 0),
    wrap('lockstepd COMMAND --help tells more about each, and so does man lockstepd-COMMAND.', width),
  ]
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

/** The words of a text in lines of at most `width` characters, as far as words allow. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** The first letter as a capital, a full stop at the end. */
export function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}

/** `-j, --json`, ` --config FILE`: an option as the lists show it. */
export function optionTitle(name: string, option: Parameters<typeof valueText>[0]): string {
  const short = option.short === undefined ? '' : `-${option.short}, `;
  const value = option.choices === undefined || option.value === undefined ? valueText(option) : ` ${option.value}`;
  return `${short}--${name}${value}`;
}

/** What is said of an option: its text, its default, who has it. */
export function optionText({ option, only }: ReturnType<typeof optionsOf>[number]): string {
  const notes = [
    ...(option.default === undefined ? [] : [`default ${option.default}`]),
    ...(option.bare === undefined ? [] : [`${option.bare} when no value is given`]),
    ...(option.multiple === true ? ['may be given several times'] : []),
    ...(only.length === 0 ? [] : [`for ${only.join(' and ')}`]),
  ];
  return notes.length === 0 ? option.text : `${option.text} (${notes.join('; ')})`;
}

type Row = readonly [title: string, paragraphs: readonly string[]];

function widthFor(columns: number | undefined): number {
  return Math.max(narrowest, Math.min(widest, columns ?? widest));
}

function usage(spec: CommandSpec, width: number): string[] {
  return formsOf(spec).flatMap(({ name, syntax }, i) => {
    const start = `${i === 0 ? 'Usage:' : '      '} lockstepd ${name} `;
    // The words of an option stay together.
    const whole = usageWords(syntax).map((word) => word.replaceAll(' ', '\0'));
    const lines = wrap(whole.join(' '), width - start.length).map((line) => line.replaceAll('\0', ' '));
    return lines.map((line, at) => `${at === 0 ? start : ' '.repeat(start.length)}${line}`.trimEnd());
  });
}

function subcommandRows(spec: CommandSpec): Row[] {
  return Object.entries(spec.subcommands ?? {}).map(([name, { text }]) => [name, [text]]);
}

function argumentRows(spec: CommandSpec): Row[] {
  return argumentsOf(spec).flatMap(({ name, text, choices }): Row[] => {
    return text === undefined && choices === undefined ? [] : [[name, [text ?? '', ...choiceLines(choices)]]];
  });
}

function optionRows(spec: CommandSpec): Row[] {
  const rows = optionsOf(spec).map(
    (found): Row => [optionTitle(found.name, found.option), [optionText(found), ...choiceLines(found.option.choices)]],
  );
  return [...rows, ['-h, --help', ['print this']]];
}

function choiceLines(choices: Choices = {}): string[] {
  return Object.entries(choices).map(([name, text]) => (text === '' ? name : `${name}: ${text}`));
}

function exitRows(spec: CommandSpec): Row[] {
  return Object.entries(spec.exitCodes).map(([code, text]) => [code, [text]]);
}

function examples({ examples: list }: CommandSpec, width: number): string[] {
  return [
    list.length === 1 ? 'Example:' : 'Examples:',
    ...list.flatMap(({ command, does }) =>
      [...wrap(`# ${sentence(does)}`, width - 2), command].map((line) => `  ${line}`),
    ),
  ];
}

/** Titles at the left, their texts wrapped beside them; below them where a title is too long. */
function table(title: string, rows: readonly Row[], width: number, atLeast = 0): string[] {
  if (rows.length === 0) return [];
  const longest = Math.max(atLeast, ...rows.map(([name]) => name.length));
  const indent = Math.min(longest + 4, Math.max(8, Math.floor(width / 3)));
  const lines = rows.flatMap(([name, paragraphs]) => {
    const texts = paragraphs.filter((text) => text !== '').flatMap((text) => wrap(text, width - indent));
    const beside = name.length + 4 <= indent;
    const first = `  ${name}`.padEnd(indent);
    const rest = beside ? texts.slice(1) : texts;
    return [beside ? `${first}${texts[0] ?? ''}` : first, ...rest.map((line) => ' '.repeat(indent) + line)];
  });
  return [`${title}:`, ...lines.map((line) => line.trimEnd())];
}
