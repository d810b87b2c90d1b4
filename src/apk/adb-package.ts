/** Reads what the ADB block of a v3 package says: who it is, and which files its DATA blocks must bring. */
import { FormatError } from '../errors.ts';
import { type AdbSlots, AdbValues } from './adb-values.ts';
import { isArch, isPackageName } from './entry.ts';
import { limits } from './limits.ts';
import { checkFileName, checkPath } from './path.ts';
import { isVersion } from './version.ts';

/** A file whose content comes in a DATA block. */
export interface AdbFile {
  /** Its place in `paths` and in the files of that path, both from 1. */
  readonly path: number;
  readonly file: number;
  readonly size: number;
  /** 20 bytes SHA-1, 32 bytes SHA-256, 64 bytes SHA-512. */
  readonly hash: Buffer;
  readonly name: string;
}

export interface AdbPackage {
  readonly name: string;
  readonly version: string;
  readonly arch: string | null;
  /**
   * Walks all files in their order, checks each, and gives out those that have content. Throws DATA_PATH for a name that
   * clients refuse, ADB_SCHEMA, and LIMIT for too many.
   */
  readonly files: () => Generator<AdbFile, void>;
}

const root = { info: 1, paths: 2 };
const info = { name: 1, version: 2, arch: 5 };
const directory = { name: 1, files: 3 };
const entry = { name: 1, size: 3, hash: 5, target: 6 };
const textBytes = 255;
const pathBytes = 4096;
const hashBytes: readonly number[] = [20, 32, 64];
const modes = { fifo: 0o010000, character: 0o020000, block: 0o060000, regular: 0o100000, symlink: 0o120000 };

/** Throws ADB_SCHEMA, or IDENTITY_NAME when name, version or architecture are missing or none. */
export function readAdbPackage(payload: Buffer): AdbPackage {
  const values = new AdbValues(payload);
  const top = values.slots(values.root, 'the package');
  const about = values.slots(top.at(root.info), 'the package info');
  const text = (slot: number): string | null =>
    values.text(about.at(slot), `field ${slot} of the package info`, textBytes);
  const name = text(info.name) ?? '';
  const version = text(info.version) ?? '';
  const arch = text(info.arch);
  if (!isPackageName(name))
    throw new FormatError('IDENTITY_NAME', `the name is missing or no package name: ${JSON.stringify(name)}`);
  if (!isVersion(version))
    throw new FormatError('IDENTITY_NAME', `the version is missing or no version: ${JSON.stringify(version)}`);
  if (arch !== null && !isArch(arch))
    throw new FormatError('IDENTITY_NAME', `arch is no architecture: ${JSON.stringify(arch)}`);
  return { name, version, arch, files: () => walk(values, values.slots(top.at(root.paths), 'the paths')) };
}

function* walk(values: AdbValues, paths: AdbSlots): Generator<AdbFile, void> {
  let seen = 0;
  const count = (): void => {
    seen += 1;
    if (seen > limits.adbFiles) throw new FormatError('LIMIT', `more than ${limits.adbFiles} files and directories`);
  };
  for (let path = 1; path <= paths.length; path += 1) {
    count();
    const slots = values.slots(paths.at(path), `path ${path}`);
    // The top directory has no name.
    const prefix = values.text(slots.at(directory.name), `the name of path ${path}`, pathBytes) ?? '';
    if (prefix !== '') checkPath(prefix);
    const files = values.slots(slots.at(directory.files), `the files of path ${path}`);
    for (let file = 1; file <= files.length; file += 1) {
      count();
      const found = readFile(values, files.at(file), prefix);
      if (found !== null) yield { path, file, ...found };
    }
  }
}

/** The file if it has content of its own. */
function readFile(values: AdbValues, value: number, prefix: string): Omit<AdbFile, 'path' | 'file'> | null {
  const slots = values.slots(value, 'a file');
  const base = values.text(slots.at(entry.name), 'the name of a file', pathBytes) ?? '';
  const name = prefix === '' ? base : `${prefix}/${base}`;
  checkFileName(base);
  const size = values.int(slots.at(entry.size), `the size of ${quote(name)}`) ?? 0;
  const target = values.blob(slots.at(entry.target), `the target of ${quote(name)}`);
  if (target !== null) {
    checkTarget(target, name);
    return null;
  }
  const hash = values.blob(slots.at(entry.hash), `the hash of ${quote(name)}`);
  if (hash === null || !hashBytes.includes(hash.length)) {
    throw new FormatError('ADB_SCHEMA', `${quote(name)}: a file needs a hash of 20, 32 or 64 bytes`);
  }
  return size === 0 ? null : { size, hash, name };
}

/** What is no regular file: u16 mode, then the path of a link or the number of a device. */
function checkTarget(target: Buffer, name: string): void {
  const mode = target.length < 2 ? 0 : target.readUInt16LE(0);
  const rest = target.subarray(2);
  if (mode === modes.regular) {
    checkPath(rest.toString('latin1'));
    return;
  }
  const device = mode === modes.fifo || mode === modes.character || mode === modes.block;
  const right = device ? rest.length === 8 : mode === modes.symlink && rest.length > 0 && !rest.includes(0);
  if (!right) throw new FormatError('ADB_SCHEMA', `${quote(name)}: the target is neither a link nor a device`);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
