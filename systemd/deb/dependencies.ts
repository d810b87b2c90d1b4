/** Decides which packages of node_modules, and which of their files, the daemon needs to run: no types, sources, tests or native add-ons. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Locked {
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

export interface Dependency {
  readonly name: string;
  /** SPDX. */
  readonly license: string;
  /** Where it lies, below the repository and in the package, as none is needed in two versions. */
  readonly directory: string;
  /** What goes into the package, below that directory, sorted. */
  readonly files: readonly string[];
  /** Files with its licence and notices, for the copyright file. */
  readonly licenses: readonly string[];
}

/** Brought as bin/node instead. */
const runtime = 'node';

/** For mqtt's command line: its library loads none of them. */
const neverLoaded = ['commist', 'concat-stream', 'help-me', 'minimist'];

const wanted = /\.(?:js|cjs|mjs|json)$/;
const legal = /^(?:licen[cs]e|copying|unlicense|copyrightnotice|notice)[^/]*$/i;
const unwanted = [
  /(?:^|\/)(?:tests?|__tests__|examples?|docs|bench(?:mark)?s?|coverage|\.github|\.husky)\//i,
  /\.(?:test|spec|bench)\.[cm]?js$/,
  /(?:^|\/)tsconfig[^/]*\.json$/,
  /^(?:gulpfile|rollup\.config|eslint\.config|\.[^/]*)[^/]*$/,
  // Bundles for browsers and command lines.
  /^browser\//,
  /^bin\.[cm]?js$/,
];
const unwantedOf: Readonly<Record<string, RegExp>> = {
  mqtt: /^(?:dist|help|build\/bin)\//,
  // What would compile its add-on, without which it works: Node's own ciphers do.
  ssh2: /^(?:install\.js|util\/|lib\/protocol\/crypto\/(?:binding|src))/,
  '@babel/runtime': /^helpers\/esm\/(?!package)/,
};

/**
 * What `dependencies` of package.json need, by package-lock.json, sorted by name. Optional dependencies are left out: they are
 * native add-ons. Throws when one is not installed, lies in two versions or comes without a licence.
 */
export function runtimeDependencies(repository: string): Dependency[] {
  const { packages } = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, Locked>>;
  };
  const found = new Map<string, Locked>();
  const follow = (names: readonly string[]): void => {
    for (const name of names) {
      if (found.has(name) || name === runtime || name.startsWith('@types/') || neverLoaded.includes(name)) continue;
      const locked = packages[`node_modules/${name}`];
      if (!locked) throw new Error(`package-lock.json has no node_modules/${name}: run npm install, then build again`);
      found.set(name, locked);
      follow(Object.keys(locked.dependencies ?? {}));
    }
  };
  follow(Object.keys(packages['']?.dependencies ?? {}));
  const nested = Object.keys(packages).find((path) =>
    [...found.keys()].some((name) => path.startsWith(`node_modules/${name}/node_modules/`)),
  );
  if (nested !== undefined) throw new Error(`${nested} is a second version, for which the package has no place`);
  return [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { license }]) => describe(repository, name, license));
}

function describe(repository: string, name: string, license: string | undefined): Dependency {
  const directory = `node_modules/${name}`;
  const all = filesIn(join(repository, directory));
  const files = all.filter(
    (file) => wanted.test(file) && !unwanted.some((rule) => rule.test(file)) && !unwantedOf[name]?.test(file),
  );
  const licenses = all.filter((file) => legal.test(file));
  if (files.length === 0) throw new Error(`${directory} is empty: run npm ci, then build again`);
  if (licenses.length === 0) throw new Error(`${directory} comes without its licence, which the package must have`);
  return { name, license: license ?? olderLicense(repository, directory), directory, files, licenses };
}

/** The form of package.json before SPDX: `licenses: [{ type }]`. */
function olderLicense(repository: string, directory: string): string {
  const { licenses } = JSON.parse(readFileSync(join(repository, directory, 'package.json'), 'utf8')) as {
    readonly licenses?: readonly { readonly type: string }[];
  };
  const [first] = licenses ?? [];
  if (!first) throw new Error(`${directory}/package.json names no licence`);
  return first.type;
}

/** Regular files below a directory, as paths below it, sorted by their bytes; links are not followed, as `recursive` would. */
export function filesIn(directory: string): string[] {
  const found: string[] = [];
  const visit = (path: string): void => {
    for (const entry of readdirSync(join(directory, path), { withFileTypes: true })) {
      const name = path === '' ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(name);
      else if (entry.isFile()) found.push(name);
    }
  };
  visit('');
  return found.sort();
}
