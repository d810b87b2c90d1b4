/** Says whether a text is a version: `digits{.digits}[letter]{_suffix[digits]}[~hex][-rN]`. */

// Looser than apk's grammar by what real indexes contain and clients cope with: digits after the letter (Alpine's
// `6.8.0p2-r4`, `0.99f7-r0`) and a suffix that is a bare number (postmarketOS's `6.0_0002-r1`).
const grammar =
  /^[0-9]+(?:\.[0-9]+)*(?:[a-z][0-9]*)?(?:_(?:(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*|[0-9]+))*(?:~[0-9a-f]+)?(?:-r[0-9]+)?$/;

/** True for a version that clients can compare, as far as they do: of an odd one they take what comes before the odd part. */
export function isVersion(text: string): boolean {
  return grammar.test(text);
}
