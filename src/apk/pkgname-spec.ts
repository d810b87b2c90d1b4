/** Reads the `pkgname-spec` of a v3 index: the rule by which clients make the path of a package from its entry. */
import { FormatError } from '../errors.ts';
import { maxFileNameBytes } from './entry.ts';

interface Variables {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  /** Hex of the identity. */
  readonly hash: string;
}

type Part = string | { readonly variable: keyof Variables; readonly length: number | null };

/** The path of a package relative to the directory of its index. Throws INDEX_NAME when that is no place for one. */
export type PackagePath = (variables: Variables) => string;

const longestSpec = 1024;

/**
 * Parses `text`: `${name}`, `${version}`, `${arch}`, `${hash}`, each with `:N` for its first N characters, and what stands
 * between them. Throws INDEX_NAME for another host, an absolute path, a way upwards, and variables that do not exist.
 */
export function parsePkgnameSpec(text: string): PackagePath {
  if (text.length > longestSpec) throw unusable(text, `longer than ${longestSpec} bytes`);
  if (text.includes('://')) throw unusable(text, 'it leads to another host');
  if (text.startsWith('/')) throw unusable(text, 'it is absolute');
  const parts = [...text.matchAll(/\$\{([^}]*)\}|[^$]+|\$/g)].map(([whole, variable]): Part => {
    if (variable === undefined) return whole === '$' ? fail(text, 'a $ without a variable') : whole;
    const [, name = '', length] = /^(name|version|arch|hash)(?::([1-9][0-9]{0,2}))?$/.exec(variable) ?? [];
    if (!isVariable(name)) return fail(text, `no variable ${JSON.stringify(variable)}`);
    return { variable: name, length: length === undefined ? null : Number(length) };
  });
  return (variables) => checkPath(parts.map((part) => expand(part, variables)).join(''), text);
}

function expand(part: Part, variables: Variables): string {
  if (typeof part === 'string') return part;
  const value = variables[part.variable];
  return part.length === null ? value : value.slice(0, part.length);
}

/** No component may be hidden, lead upwards or be odd for a shell, and only packages end in `.apk`: no index can be overwritten. */
function checkPath(path: string, spec: string): string {
  const right = path.split('/').every((name) => /^[A-Za-z0-9][A-Za-z0-9._+~@=-]*$/.test(name));
  if (!right || !path.endsWith('.apk')) throw unusable(spec, `it makes ${JSON.stringify(path.slice(0, 300))}`);
  if (path.split('/').some((name) => name.length > maxFileNameBytes)) {
    throw unusable(spec, `it makes a name longer than ${maxFileNameBytes} bytes`);
  }
  return path;
}

function isVariable(name: string): name is keyof Variables {
  return name !== '';
}

function fail(spec: string, why: string): never {
  throw unusable(spec, why);
}

function unusable(spec: string, why: string): FormatError {
  return new FormatError('INDEX_NAME', `pkgname-spec ${JSON.stringify(spec.slice(0, 200))}: ${why}`);
}
