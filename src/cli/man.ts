/** Writes manual pages in the macros of man(7): the overview and one page for each command, from the specs. Asks nobody. */
import { optionText, optionTitle, sentence } from './help.ts';
import {
  argumentsOf,
  type Choices,
  type CommandSpec,
  defaultConfigFile,
  formsOf,
  groups,
  optionsOf,
  usageWords,
} from './spec.ts';

export interface ManContext {
  readonly version: string;
  /** `2026-11-23` */
  readonly date: string;
}

/** `lockstepd.1`: what there is, and what holds for every command. */
export function overviewPage(specs: readonly CommandSpec[], context: ManContext): string {
  const lists = Object.entries(groups).flatMap(([group, title]) => {
    const rows = specs.filter((spec) => spec.group === group);
    if (rows.length === 0) return [];
    return [
      `.SS ${escaped(title)}`,
      ...rows.flatMap(({ name, summary }) => item(reference(`lockstepd-${name}`, 1), [sentence(summary)])),
    ];
  });
  return page('lockstepd', 1, context, [
    ...section('NAME', [
      'lockstepd \\- keep the mirrors of a signed package repository in lockstep with their primary',
    ]),
    ...section('SYNOPSIS', [
      '.B lockstepd',
      '.I COMMAND',
      '[\\fIARGUMENTS\\fR]',
      '.br',
      '.B lockstepd',
      '\\-\\-help | \\-\\-version',
    ]),
    ...section('DESCRIPTION', [
      ...paragraphs([
        'lockstepd takes what builders upload, verifies it, publishes it as numbered generations in one step, and brings each generation to every mirror at once. What it publishes and whom it serves stands in its configuration; what it does is seen by lockstepd status, on its status page and in its metrics.',
        'Commands that ask or change a running daemon do it over a unix socket: who may use its directory may use them.',
      ]),
    ]),
    '.SH COMMANDS',
    ...lists,
    ...section(
      'EXIT STATUS',
      Object.entries(exitMeanings).flatMap(([code, text]) => item(code, [text])),
    ),
    '.SH FILES',
    ...item(
      `\\fI${escaped(defaultConfigFile)}\\fR`,
      [`The configuration: see ${reference('lockstepd.yaml', 5)}.`],
      true,
    ),
    '.SH ENVIRONMENT',
    ...item('NO_COLOR', ['When it is set to anything but the empty string, no colours are written to a terminal.']),
    ...item('CREDENTIALS_DIRECTORY', ['Where systemd puts what the configuration calls credential:NAME.']),
    ...seeAlso([
      ['lockstepd.yaml', 5],
      ['rsync', 1],
      ['rrsync', 1],
      ['sshd', 8],
    ]),
  ]);
}

/** `lockstepd-COMMAND.1` */
export function commandPage(spec: CommandSpec, context: ManContext): string {
  const subcommands = Object.entries(spec.subcommands ?? {}).flatMap(([name, { text }]) =>
    item(bold(name), [sentence(text)]),
  );
  const operands = argumentsOf(spec).flatMap(({ name, text, choices }) =>
    text === undefined && choices === undefined
      ? []
      : item(italic(name), [text ?? '', ...choiceTexts(choices)].filter(isWritten)),
  );
  const options = [
    ...optionsOf(spec).flatMap((found) =>
      item(bold(optionTitle(found.name, found.option)), [
        sentence(optionText(found)),
        ...choiceTexts(found.option.choices),
      ]),
    ),
    ...item(bold('-h, --help'), ['Print a short form of this page.']),
  ];
  const codes = { ...spec.exitCodes, 1: spec.exitCodes[1] ?? exitMeanings[1], 2: exitMeanings[2] };
  return page(`lockstepd-${spec.name}`, 1, context, [
    ...section('NAME', [`lockstepd\\-${escaped(spec.name)} \\- ${escaped(spec.summary)}`]),
    '.SH SYNOPSIS',
    ...formsOf(spec).flatMap(({ name, syntax }, i) => [
      ...(i === 0 ? [] : ['.br']),
      `.B lockstepd ${escaped(name)}`,
      ...usageWords(syntax).map((word) => guarded(escaped(word, true))),
    ]),
    '.SH DESCRIPTION',
    ...paragraphs([sentence(spec.summary), ...spec.text]),
    ...(subcommands.length === 0 ? [] : ['.SS Subcommands', ...subcommands]),
    ...(operands.length === 0 ? [] : ['.SS Arguments', ...operands]),
    '.SH OPTIONS',
    ...options,
    '.SH EXIT STATUS',
    ...Object.entries(codes).flatMap(([code, text]) => item(code, [sentence(text)])),
    '.SH EXAMPLES',
    ...spec.examples.flatMap(({ command, does }, i) => [
      ...(i === 0 ? [] : ['.PP']),
      guarded(escaped(`${sentence(does).slice(0, -1)}:`)),
      ...example([command]),
    ]),
    ...seeAlso([
      ['lockstepd', 1],
      ['lockstepd.yaml', 5],
    ]),
  ]);
}

const exitMeanings = {
  0: 'Done; what was asked for is as it should be.',
  1: 'It did not work',
  2: 'The command line is wrong',
  3: 'Some mirrors are behind.',
  4: 'Something does not verify, or is damaged.',
  75: 'No daemon answers: try again later.',
  78: 'The configuration cannot be used.',
} as const;

/** A whole page: its title line and its sections. */
export function page(name: string, number: number, { version, date }: ManContext, body: readonly string[]): string {
  return `.TH ${escaped(name)} ${number} ${date} "lockstepd ${version}"\n${body.join('\n')}\n`;
}

/** A section with its lines as they are. */
function section(title: string, lines: readonly string[]): string[] {
  return [`.SH ${title}`, ...lines];
}

/** Running text; an empty line between paragraphs. Lines that begin with two spaces are not filled. */
export function paragraphs(texts: readonly string[]): string[] {
  return texts.flatMap((text, i) => [...(i === 0 ? [] : ['.PP']), ...running(text, '.PP')]);
}

/** A word with its explanation beside or below it; `ready`: the texts are roff already. */
export function item(title: string, texts: readonly string[], ready = false): string[] {
  return [
    '.TP',
    title,
    ...texts.flatMap((text, i) => [...(i === 0 ? [] : ['.IP']), ...(ready ? [text] : running(text, '.IP'))]),
  ];
}

export function example(lines: readonly string[]): string[] {
  return ['.PP', '.RS 4', '.nf', ...lines.map((line) => guarded(escaped(line, true))), '.fi', '.RE'];
}

export function bold(text: string): string {
  return `\\fB${escaped(text, true)}\\fR`;
}

export function italic(text: string): string {
  return `\\fI${escaped(text, true)}\\fR`;
}

function reference(name: string, number: number): string {
  return `\\fB${escaped(name, true)}\\fR(${number})`;
}

export function seeAlso(pages: readonly (readonly [string, number])[]): string[] {
  return ['.SH SEE ALSO', pages.map(([name, number]) => reference(name, number)).join(',\n')];
}

/** A dash stays a dash where it is to be copied; elsewhere it may become a hyphen. */
function escaped(text: string, literal = false): string {
  const safe = text
    .replaceAll('\\', '\\e')
    .replaceAll("'", literal ? '\\(aq' : "'")
    .replaceAll('`', '\\(ga');
  return (literal ? safe.replaceAll('-', '\\-') : safe).replaceAll('…', '...').replaceAll('→', '->');
}

/** `again` begins a paragraph at the same indentation. */
function running(text: string, again: '.PP' | '.IP'): string[] {
  const lines = text.split('\n');
  const isVerbatim = (i: number): boolean => lines[i]?.startsWith('  ') ?? false;
  return lines.flatMap((line, i) => {
    if (!isVerbatim(i)) return [guarded(marked(line))];
    const before = isVerbatim(i - 1) ? [] : [again, '.nf'];
    const after = isVerbatim(i + 1) ? [] : ['.fi', ...(i === lines.length - 1 ? [] : [again])];
    return [...before, escaped(line, true), ...after];
  });
}

/** Options and what stands between backquotes in bold. */
function marked(text: string): string {
  return text
    .split(/(`[^`]+`|(?<![\w-])--[a-z][a-z-]+)/)
    .map((part, i) => (i % 2 === 0 ? escaped(part) : bold(part.replaceAll('`', ''))))
    .join('');
}

/** A line that begins with a dot or an apostrophe would be a request. */
function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

function choiceTexts(choices: Choices = {}): string[] {
  return Object.entries(choices).map(([name, text]) => (text === '' ? name : `${name}: ${text}.`));
}

function isWritten(text: string): boolean {
  return text !== '';
}
