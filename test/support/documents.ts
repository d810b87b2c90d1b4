/** The commands in the documents for operators, in the order in which they are read. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const repository = resolve(import.meta.dirname, '../..');

export interface Command {
  /** Path below the repository, and line. */
  readonly place: string;
  readonly text: string;
}

/** Every command of every \`\`\`sh block: one a line, or more where a backslash ends it. */
export function commandsOf(file: string): Command[] {
  const found: Command[] = [];
  let inside = false;
  let begun = '';
  for (const [index, line] of readFileSync(join(repository, file), 'utf8').split('\n').entries()) {
    if (line.startsWith('```')) inside = line === '```sh';
    else if (inside && line.trim() !== '' && !line.startsWith('#')) {
      begun += line;
      if (line.endsWith('\\')) begun = begun.slice(0, -1);
      else {
        found.push({ place: `${file}:${index + 1}`, text: begun.replaceAll(/ {2,}/g, ' ').replace(/ # .*/, '') });
        begun = '';
      }
    }
  }
  return found;
}

/** What `init` prints to be pasted, by the line `# ==== TITLE` above each piece. */
export function piecesOf(printed: string): { readonly title: string; readonly script: string }[] {
  return printed
    .split(/^# ==== /m)
    .slice(1)
    .map((piece) => {
      const [title = '', ...lines] = piece.split('\n');
      return { title, script: lines.join('\n') };
    });
}
