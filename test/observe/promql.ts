/** Reads of a PromQL expression what the tests need: the selectors with their matchers, and what is grouped by which labels. */

export interface Matcher {
  readonly label: string;
  readonly operator: string;
  readonly value: string;
}

export interface Selector {
  readonly name: string;
  readonly matchers: readonly Matcher[];
}

/** `by (labels) (…)` with the selectors inside; for `on`, `without` and `group_left` those of the whole expression. */
export interface Grouping {
  readonly keyword: string;
  readonly labels: readonly string[];
  readonly selectors: readonly Selector[];
}

const token = /"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[a-zA-Z_:][\w:]*|[\d.]+\w*|=~|!~|!=|[(){},]|[^\s\w]/g;
const groupingWords = ['by', 'on', 'without', 'ignoring', 'group_left', 'group_right'];
const operators = ['and', 'or', 'unless', 'offset', 'bool'];

export function readPromql(expr: string): {
  readonly selectors: readonly Selector[];
  readonly groupings: readonly Grouping[];
} {
  const tokens: readonly string[] = expr.match(token) ?? [];
  const selectors: (Selector & { readonly at: number; readonly scalar: boolean })[] = [];
  const found: { readonly keyword: string; readonly labels: string[]; readonly from: number; readonly to: number }[] =
    [];
  // Until there the labels are dropped.
  let scalarEnd = -1;
  for (let n = 0; n < tokens.length; n++) {
    const word = tokens[n] ?? '';
    const follows = tokens[n + 1] ?? '';
    if (!/^[a-zA-Z_:]/.test(word) || operators.includes(word)) continue;
    if (word === 'scalar') scalarEnd = closing(tokens, n + 1);
    if (groupingWords.includes(word)) {
      // group_left may stand without parentheses.
      if (follows !== '(') continue;
      const end = closing(tokens, n + 1);
      const inner = word === 'by' && tokens[end + 1] === '(' ? [end + 1, closing(tokens, end + 1)] : [0, tokens.length];
      const labels = tokens.slice(n + 2, end).filter((t) => t !== ',');
      found.push({ keyword: word, labels, from: inner[0] ?? 0, to: inner[1] ?? 0 });
      n = end;
    } else if (follows === '{') {
      const end = tokens.indexOf('}', n);
      selectors.push({ name: word, matchers: matchersOf(tokens.slice(n + 2, end)), at: n, scalar: n < scalarEnd });
      n = end;
    } else if (follows !== '(' && follows !== 'by' && follows !== 'without') {
      selectors.push({ name: word, matchers: [], at: n, scalar: n < scalarEnd });
    }
  }
  const groupings = found.map(({ keyword, labels, from, to }) => ({
    keyword,
    labels,
    selectors: selectors.filter(({ at, scalar }) => at > from && at < to && !scalar),
  }));
  return { selectors, groupings };
}

/** Where the parenthesis that opens at `open` is closed. */
function closing(tokens: readonly string[], open: number): number {
  let depth = 0;
  for (let n = open; n < tokens.length; n++) {
    if (tokens[n] === '(') depth++;
    if (tokens[n] === ')' && --depth === 0) return n;
  }
  throw new Error(`no closing parenthesis in ${tokens.join(' ')}`);
}

function matchersOf(tokens: readonly string[]): Matcher[] {
  const matchers: Matcher[] = [];
  for (let n = 0; n + 2 < tokens.length; n += 4)
    matchers.push({ label: tokens[n] ?? '', operator: tokens[n + 1] ?? '', value: (tokens[n + 2] ?? '').slice(1, -1) });
  return matchers;
}
