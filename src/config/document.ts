/** YAML text as plain values, with the line and column of every key, and values as YAML; knows nothing of what the keys mean. */
import { isDeepStrictEqual } from 'node:util';
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, stringify, type YAMLSeq } from 'yaml';
import type { ConfigProblem } from '../errors.ts';
import type { KeyProblem } from './fields.ts';

export interface YamlDocument {
  /** True when the text cannot be trusted to mean anything; `problems` says why. */
  readonly broken: boolean;
  readonly value: unknown;
  readonly problems: readonly ConfigProblem[];
  /** Gives a problem of a key its place in the text. */
  readonly locate: (problem: KeyProblem) => ConfigProblem;
}

/** Reads one YAML 1.2 document. Duplicate keys are problems, and so are aliases that multiply. */
export function readYaml(file: string, text: string): YamlDocument {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const at = ({ offset, key, message }: Finding): ConfigProblem => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), key, message };
  };
  const places = new Places();
  const locate = ({ path, on, message }: KeyProblem): ConfigProblem =>
    at({ offset: places.of(path, on), key: keyText(path) || '(top)', message });
  const broken = (findings: readonly Finding[]): YamlDocument => ({
    broken: true,
    value: undefined,
    problems: findings.map(at),
    locate,
  });
  const errors = [...document.errors, ...document.warnings].map(({ code, message, pos }) =>
    code === 'MULTIPLE_DOCS'
      ? syntax(pos[0], 'a second document begins, expected one')
      : syntax(pos[0], `${message}, expected YAML 1.2`),
  );
  places.note('', document.contents);
  if (errors.length + places.meaningless.length > 0)
    return broken([...errors, ...places.meaningless, ...places.repeated]);
  try {
    const value: unknown = document.toJS({ maxAliasCount });
    return { broken: false, value, problems: places.repeated.map(at), locate };
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    return broken([
      syntax(places.firstAlias, 'aliases that multiply, expected few enough to write out'),
      ...places.repeated,
    ]);
  }
}

/** Enough to share a few settings, too little for a bomb; the default of the library. */
const maxAliasCount = 100;

interface Finding {
  readonly offset: number;
  readonly key: string;
  readonly message: string;
}

function syntax(offset: number, message: string): Finding {
  return { offset, key: '(syntax)', message };
}

/** Where in the text each key and each value begins, by the path as problems show it. */
class Places {
  /** What leaves the document without a meaning. */
  readonly meaningless: Finding[] = [];
  readonly repeated: Finding[] = [];
  firstAlias = 0;
  readonly #anchors = new Set<string>();
  readonly #offsets = new Map<string, { readonly key: number; readonly value: number }>();

  note(path: string, node: unknown, keyOffset?: number): void {
    if (!isNode(node)) {
      this.#offsets.set(path, { key: keyOffset ?? 0, value: keyOffset ?? 0 });
      return;
    }
    const offset = node.range?.[0] ?? keyOffset ?? 0;
    this.#offsets.set(path, { key: keyOffset ?? offset, value: offset });
    if (isAlias(node)) {
      this.#noteAlias(node.source, offset);
      return;
    }
    if (node.anchor !== undefined) this.#anchors.add(node.anchor);
    if (isSeq(node)) for (const [index, item] of node.items.entries()) this.note(`${path}[${index}]`, item);
    if (isMap(node)) for (const { key, value } of node.items) this.#notePair(path, key, value);
  }

  #noteAlias(name: string, offset: number): void {
    this.firstAlias ||= offset;
    if (this.#anchors.has(name)) return;
    this.meaningless.push(syntax(offset, `*${name} names no anchor, expected &${name} above it`));
  }

  #notePair(path: string, key: unknown, value: unknown): void {
    const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
    if (!isScalar(key) || typeof key.value !== 'string') {
      this.meaningless.push({
        offset,
        key: path || '(top)',
        message: 'a key that is no text, expected plain words as keys',
      });
      return;
    }
    const name = path === '' ? key.value : `${path}.${key.value}`;
    if (this.#offsets.has(name)) this.repeated.push({ offset, key: name, message: 'given twice, expected once' });
    this.note(name, value, offset);
  }

  /** The offset of `path`, or of what lies nearest above it when it is not there. */
  of(path: KeyProblem['path'], on: 'key' | 'value'): number {
    for (let length = path.length; length >= 0; length--) {
      const found = this.#offsets.get(keyText(path.slice(0, length)));
      if (found) return length === path.length && on === 'key' ? found.key : found.value;
    }
    return 0;
  }
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isAlias(value) || isMap(value) || isSeq(value);
}

/** `mirrors[0].transport.host` */
function keyText(path: KeyProblem['path']): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .replace(/^\./, '');
}

/** A value as YAML in block form, with a newline at its end. */
export function writeYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}

/**
 * The document with `item` at the end of the list that is its top key `key`; every other byte stays, comments included.
 * Null where that cannot be done so: a list in brackets, a broken document.
 */
export function appendToList(text: string, key: string, item: unknown): string | null {
  const document = parseDocument(text);
  if (document.errors.length > 0 || !isMap(document.contents)) return null;
  const pair = document.contents.items.find((entry) => isScalar(entry.key) && entry.key.value === key);
  const changed = pair === undefined ? withNewList(text, key, item) : withItem(text, pair.key, pair.value, item);
  if (changed === null) return null;
  const before: unknown = document.toJS({ maxAliasCount });
  const after = parseDocument(changed);
  if (after.errors.length > 0 || typeof before !== 'object' || before === null) return null;
  const list: unknown = (before as Readonly<Record<string, unknown>>)[key] ?? [];
  const expected = { ...before, [key]: [...(Array.isArray(list) ? list : []), item] };
  return isDeepStrictEqual(after.toJS({ maxAliasCount }), expected) ? changed : null;
}

function withNewList(text: string, key: string, item: unknown): string {
  return `${text}${text.endsWith('\n') ? '' : '\n'}\n${key}:\n${indented(item, 2)}`;
}

function withItem(text: string, key: unknown, list: unknown, item: unknown): string | null {
  if (!isNode(key)) return null;
  if (isSeq(list) && list.items.length > 0) return list.flow === true ? null : afterItems(text, list, item);
  // `mirrors:` with nothing behind it, or with empty brackets, which then go.
  const [start, end] = (isSeq(list) ? list.range : undefined) ?? [key.range?.[1] ?? 0, key.range?.[1] ?? 0];
  const line = lineEnd(text, end);
  const head = text.slice(0, start).trimEnd() + text.slice(end, line).trimEnd();
  return `${head}\n${indented(item, 2)}${text.slice(line + 1)}`;
}

function afterItems(text: string, list: YAMLSeq, item: unknown): string | null {
  const [first] = list.items;
  if (!isNode(first)) return null;
  const start = first.range?.[0] ?? 0;
  const [, spaces] = /^( *)- +$/.exec(text.slice(text.lastIndexOf('\n', start - 1) + 1, start)) ?? [];
  const end = endOf(list);
  if (spaces === undefined || end === null) return null;
  const line = text[end - 1] === '\n' ? end - 1 : lineEnd(text, end);
  return `${text.slice(0, line)}\n${indented(item, spaces.length)}${text.slice(line + 1)}`;
}

/** Where the last value ends; what comes after it on its line is a comment. */
function endOf(node: unknown): number | null {
  if (!isNode(node)) return null;
  if (isSeq(node) && node.flow !== true && node.items.length > 0) return endOf(node.items.at(-1));
  const last = isMap(node) && node.flow !== true ? node.items.at(-1) : undefined;
  return last === undefined ? (node.range?.[1] ?? null) : (endOf(last.value) ?? endOf(last.key));
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

function indented(item: unknown, spaces: number): string {
  return writeYaml([item]).replace(/^(?=.)/gm, ' '.repeat(spaces));
}
