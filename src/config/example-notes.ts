/** Reads what the annotated example says of each key, so that the manual page and editors say the same. Asks nobody. */
import type { JsonSchema, Notes } from './json-schema.ts';

interface Open {
  readonly column: number;
  readonly path: string;
}

/**
 * The comments of `example`: lines directly above a key, whether the key itself is commented out or not. A default
 * directly below another one, without a comment of its own, shares that one's. A line that is indented within a comment stays a line of its own.
 */
export function exampleNotes(example: string, schema: JsonSchema): Notes {
  const known = new Set(pathsIn(schema, ''));
  const found = new Map<string, string>();
  const firstFound = new Map<string, string>();
  let open: Open[] = [];
  let prose: string[] = [];
  let item = '';
  let variant: string | null = null;
  let above: { readonly column: number; readonly note: string } | null = null;
  for (const line of example.split('\n')) {
    const { text, prose: comment, column, own } = readLine(line);
    const [, dash, key = '', value = ''] = /^(- )?([a-z_]+):(?: (.*))?$/.exec(text) ?? [];
    const at = dash === undefined ? column : column + dash.length;
    const outer = open.filter((entry) => entry.column < column);
    const holder = outer.at(-1)?.path ?? '';
    const parent = dash === undefined ? holder : `${holder}[]`;
    const path = parent === '' ? key : `${parent}.${key}`;
    if (key === '' || !known.has(path)) {
      if (comment !== null) prose.push(comment);
      else prose = [];
      above = null;
      continue;
    }
    const note: string = prose.length > 0 ? paragraph(prose) : own && above?.column === at ? above.note : '';
    prose = [];
    if (dash !== undefined) [item, variant] = [note, null];
    if (path.endsWith('.transport.type')) {
      variant = value;
      if (item !== '') found.set(`${parent} ${value}`, item);
    }
    if (note !== '' && dash === undefined) {
      found.set(`${path} ${path.includes('.transport.') ? variant : ''}`, note);
      if (!firstFound.has(path)) firstFound.set(path, note);
    }
    open = [...outer, ...(dash === undefined ? [] : [{ column, path: parent }]), { column: at, path }];
    above = { column: at, note: own ? note : '' };
  }
  return (path, of) => {
    const own = found.get(`${path} ${of ?? ''}`);
    // Transports share the keys of an account, but each has a directory of its own kind.
    return own ?? (of === null || path.endsWith('.path') ? null : (firstFound.get(path) ?? null));
  };
}

interface Line {
  /** What would stand there if it were not commented out. */
  readonly text: string;
  readonly column: number;
  /** The comment as it stands; null for what is no comment. */
  readonly prose: string | null;
  /** A default that is commented out alone, not as one line of a block. */
  readonly own: boolean;
}

/** `    # settle: 5s` and `#     settle: 5s` stand in the same column. */
function readLine(line: string): Line {
  const [, indent = '', hash, rest = ''] = /^( *)(# ?)?(.*)$/.exec(line) ?? [];
  if (hash === undefined) return { text: rest, column: indent.length, prose: null, own: false };
  const text = rest.trimStart();
  const column = indent.length + rest.length - text.length;
  return { text, column, prose: text.startsWith('# ') ? text.slice(2) : rest, own: column === indent.length };
}

/** One line of running text, and lines of their own. */
function paragraph(lines: readonly string[]): string {
  return lines.reduce((text, line) => {
    if (line.startsWith('  ')) return `${text}\n${line}`;
    return text === '' ? line : `${text}${text.split('\n').at(-1)?.startsWith('  ') === true ? '\n' : ' '}${line}`;
  }, '');
}

function pathsIn(schema: JsonSchema, path: string): string[] {
  return [
    path,
    ...Object.entries(schema.properties ?? {}).flatMap(([key, value]) =>
      pathsIn(value, path === '' ? key : `${path}.${key}`),
    ),
    ...(schema.items === undefined ? [] : pathsIn(schema.items, `${path}[]`)),
    ...(schema.oneOf ?? []).flatMap((branch) => pathsIn(branch, path)),
  ];
}
