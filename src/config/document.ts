/** YAML text as plain values, with the line and column of every key; knows nothing of what the keys mean. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
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
