/** Says whether a text is a version and which of two is newer: `digits{.digits}[letter]{_suffix[digits]}[~hex][-rN]`, the order of apk. */

// Looser than apk's grammar by what real indexes contain and clients cope with: digits after the letter (Alpine's
// `6.8.0p2-r4`, `0.99f7-r0`) and a suffix that is a bare number (postmarketOS's `6.0_0002-r1`).
const grammar =
  /^[0-9]+(?:\.[0-9]+)*(?:[a-z][0-9]*)?(?:_(?:(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*|[0-9]+))*(?:~[0-9a-f]+)?(?:-r[0-9]+)?$/;

/** True for a version that clients can compare, as far as they do: of an odd one they take what comes before the odd part. */
export function isVersion(text: string): boolean {
  return grammar.test(text);
}

/** Below 0 when `a` is older than `b`, above when it is newer, 0 when clients take them for equal (`1.0-r01` and `1.0-r1`). */
export function compareVersions(a: string, b: string): number {
  const left = tokens(a);
  const right = tokens(b);
  for (;;) {
    const [x, y] = [nextOf(left), nextOf(right)];
    const order = x.kind === y.kind ? compareValues(x, y) : compareKinds(x, y);
    if (order !== 0 || x.kind === 'end' || x.kind === 'invalid') return order;
  }
}

/** The newest of `versions`, which are not empty; of equal ones the first. */
export function newestVersion(versions: readonly string[]): string {
  return versions.reduce((newest, version) => (compareVersions(version, newest) > 0 ? version : newest));
}

/** Where two versions go apart, the one whose token comes earlier in this list is newer, save before a release. */
const kinds = [
  'first',
  'number',
  'letter',
  'letter number',
  'suffix',
  'suffix number',
  'hash',
  'revision',
  'end',
  'invalid',
] as const;
type Kind = (typeof kinds)[number];

interface Token {
  readonly kind: Kind;
  readonly text: string;
}

/** From before a release to after it. The empty one is a bare number after the underscore, which apk does not know. */
const suffixes = ['alpha', 'beta', 'pre', 'rc', '', 'cvs', 'svn', 'git', 'hg', 'p'];
const firstAfterRelease = suffixes.indexOf('');

/** What may follow: the kinds after which it may stand, and how it is written (its text is group 1). */
const forms: readonly { readonly kind: Kind; readonly after: readonly Kind[]; readonly form: RegExp }[] = [
  { kind: 'number', after: ['first', 'number'], form: /\.([0-9]+)/y },
  { kind: 'letter', after: ['first', 'number'], form: /([a-z])/y },
  { kind: 'letter number', after: ['letter'], form: /([0-9]+)/y },
  {
    kind: 'suffix',
    after: ['first', 'number', 'letter', 'letter number', 'suffix', 'suffix number'],
    form: /_(alpha|beta|pre|rc|cvs|svn|git|hg|p|(?=[0-9]))(?![a-z])/y,
  },
  { kind: 'suffix number', after: ['suffix'], form: /([0-9]+)/y },
  {
    kind: 'hash',
    after: ['first', 'number', 'letter', 'letter number', 'suffix', 'suffix number'],
    form: /~([0-9a-f]+)(?![a-z])/y,
  },
  {
    kind: 'revision',
    after: ['first', 'number', 'letter', 'letter number', 'suffix', 'suffix number', 'hash'],
    form: /-r([0-9]+)/y,
  },
];
const first = /([0-9]+)/y;

/** Token by token, `end` or `invalid` last. */
function* tokens(version: string): Generator<Token, Token> {
  let at = 0;
  const take = (form: RegExp): string | undefined => {
    form.lastIndex = at;
    const found = form.exec(version);
    if (found) at = form.lastIndex;
    return found?.[1];
  };
  const start = take(first);
  if (start === undefined) return { kind: 'invalid', text: '' };
  yield { kind: 'first', text: start };
  let last: Kind = 'first';
  while (at < version.length) {
    let token: Token | undefined;
    for (const { kind, after, form } of forms) {
      if (!after.includes(last)) continue;
      const text = take(form);
      if (text === undefined) continue;
      token = { kind, text };
      break;
    }
    if (token === undefined) return { kind: 'invalid', text: '' };
    yield token;
    last = token.kind;
  }
  return { kind: 'end', text: '' };
}

function nextOf(of: Generator<Token, Token>): Token {
  return of.next().value;
}

function compareKinds(a: Token, b: Token): number {
  if (isBeforeRelease(a)) return -1;
  if (isBeforeRelease(b)) return 1;
  return kinds.indexOf(b.kind) - kinds.indexOf(a.kind);
}

function isBeforeRelease({ kind, text }: Token): boolean {
  return kind === 'suffix' && suffixes.indexOf(text) < firstAfterRelease;
}

function compareValues(a: Token, b: Token): number {
  switch (a.kind) {
    case 'first':
    case 'letter number':
    case 'suffix number':
    case 'revision':
      return compareNumbers(a.text, b.text);
    case 'number':
      // A leading zero makes it a fraction, as in 1.01 < 1.1.
      return a.text.startsWith('0') || b.text.startsWith('0')
        ? compareTexts(a.text, b.text)
        : compareNumbers(a.text, b.text);
    case 'suffix':
      return suffixes.indexOf(a.text) - suffixes.indexOf(b.text);
    case 'letter':
    case 'hash':
      return compareTexts(a.text, b.text);
    case 'end':
    case 'invalid':
      return 0;
    default:
      return a.kind satisfies never;
  }
}

function compareNumbers(a: string, b: string): number {
  const [x, y] = [BigInt(a), BigInt(b)];
  return x < y ? -1 : Number(x > y);
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
