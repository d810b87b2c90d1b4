/** Writes the machine-readable copyright file: ours, Node's, and every library's, each with its whole text. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Dependency } from './dependencies.ts';

const header = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: lockstepd
Comment: usr/lib/lockstepd/bin/node is the program that nodejs.org released; its libraries and their licences are in its text.
`;

/** Text of /usr/share/doc/lockstepd/copyright. */
export function copyrightText(repository: string, dependencies: readonly Dependency[]): string {
  const read = (...path: readonly string[]): string => readFileSync(join(repository, ...path), 'utf8');
  const ours = read('LICENSE');
  const node = read(nodeLicense());
  return [
    header,
    paragraph('*', ours, 'MIT'),
    paragraph('usr/lib/lockstepd/bin/node', node, 'Node.js'),
    ...dependencies.map((dependency) => {
      const text = dependency.licenses.map((file) => read(dependency.directory, file)).join('\n');
      const files = `usr/lib/lockstepd/${dependency.directory}/*`;
      return paragraph(files, text, dependency.license, commonText[dependency.license]);
    }),
  ].join('\n');
}

/** Debian has it on every host, and wants it named instead of repeated. */
const commonText: Readonly<Record<string, string>> = {
  'Apache-2.0': 'On Debian systems, its whole text is in /usr/share/common-licenses/Apache-2.0.',
};

function nodeLicense(): string {
  return `node_modules/node/node_modules/node-linux-${process.arch}/LICENSE`;
}

function paragraph(files: string, text: string, license: string, instead = text): string {
  const holders = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => /^(?:copyright\b|\(c\)|©)[^:]*\d{4}/i.test(line));
  const copyright = holders.length > 0 ? [...new Set(holders)] : ['see the text of the licence'];
  return `Files: ${files}
Copyright: ${copyright.join('\n ')}
License: ${license}
${indented(instead)}
`;
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split(/\r?\n/)
    .map((line) => (line.trim() === '' ? ' .' : ` ${line.replaceAll(/[\f\t]/g, ' ').trimEnd()}`))
    .join('\n');
}
