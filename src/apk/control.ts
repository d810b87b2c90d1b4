/** Reads the control member of a package: its tar rules and the facts of its `.PKGINFO`. */
import { FormatError } from '../errors.ts';
import { isArch, isPackageName } from './entry.ts';
import { limits } from './limits.ts';
import { type TarEntry, TarReader } from './tar.ts';
import { isVersion } from './version.ts';

export interface PackageInfo {
  readonly name: string;
  readonly version: string;
  /** Null when the package does not say; may be `noarch`. */
  readonly arch: string | null;
  /** Lower-case hex of the SHA-256 of the compressed data member. */
  readonly dataHash: string;
}

/** Reads the inflated content of a control member. Throws FORMAT_TAR, FORMAT_CONTROL or what `parsePackageInfo` throws. */
export function readControl(content: Buffer): PackageInfo {
  const parts: Buffer[] = [];
  let entries = 0;
  const tar = new TarReader(
    {
      entry: (entry) => {
        checkEntry(entry, entries === 0);
        entries += 1;
      },
      content: (bytes) => {
        if (entries === 1) parts.push(bytes);
      },
    },
    { endBlocks: 'refused' },
  );
  tar.push(content);
  tar.finish();
  if (entries === 0) throw new FormatError('FORMAT_CONTROL', 'the control member is empty');
  return parsePackageInfo(Buffer.concat(parts));
}

function checkEntry(entry: TarEntry, first: boolean): void {
  const renamed = entry.paxKeys.includes('path') || entry.paxKeys.includes('linkpath');
  if (first && entry.name.startsWith('.SIGN.') && renamed) {
    throw new FormatError('FORMAT_SIGNATURE', 'a pax header gives an entry the name of a signature');
  }
  if (renamed) throw new FormatError('FORMAT_CONTROL', 'a pax header renames an entry of the control member');
  if (entry.type !== '0') throw new FormatError('FORMAT_CONTROL', 'the control member holds something that is no file');
  if (first !== (entry.name === '.PKGINFO')) {
    throw new FormatError(
      'FORMAT_CONTROL',
      'the control member must hold one .PKGINFO, and it must be the first entry',
    );
  }
  if (!/^\.[^/]+$/.test(entry.name) || entry.name === '.INSTALL') {
    throw new FormatError('FORMAT_CONTROL', 'the control member holds a name that no client takes there');
  }
}

/**
 * Parses `.PKGINFO`: lines `key = value`, `#` comments, what has no ` = ` is passed over as apk does. Throws
 * PKGINFO_SYNTAX, PKGINFO_DATAHASH, IDENTITY_NAME, or LIMIT for a line that clients could not read.
 */
function parsePackageInfo(bytes: Buffer): PackageInfo {
  if (bytes.includes(0)) throw new FormatError('PKGINFO_SYNTAX', '.PKGINFO contains a NUL byte');
  const values = new Map<string, string[]>();
  for (const line of bytes.toString('latin1').split('\n')) {
    if (line.length > limits.lineBytes)
      throw new FormatError('LIMIT', `a line of .PKGINFO is longer than ${limits.lineBytes} bytes`);
    const at = line.indexOf(' = ');
    if (at < 0 || line.startsWith('#')) continue;
    const key = line.slice(0, at);
    if (!['pkgname', 'pkgver', 'arch', 'datahash'].includes(key)) continue;
    values.set(key, [...(values.get(key) ?? []), line.slice(at + 3)]);
  }
  return checkValues(values, bytes.includes(0x0d));
}

function checkValues(values: ReadonlyMap<string, readonly string[]>, carriageReturn: boolean): PackageInfo {
  const [dataHash = '', ...moreHashes] = values.get('datahash') ?? [];
  if (moreHashes.length > 0 || !/^[0-9a-f]{64}$/.test(dataHash)) {
    throw new FormatError('PKGINFO_DATAHASH', '.PKGINFO must have one datahash of 64 lower-case hexadecimal digits');
  }
  if (carriageReturn) throw new FormatError('PKGINFO_SYNTAX', '.PKGINFO contains a carriage return');
  const [name = '', ...moreNames] = values.get('pkgname') ?? [];
  const [version = '', ...moreVersions] = values.get('pkgver') ?? [];
  const [arch = null, ...moreArches] = values.get('arch') ?? [];
  if (moreNames.length + moreVersions.length + moreArches.length > 0) {
    throw new FormatError('PKGINFO_SYNTAX', '.PKGINFO gives pkgname, pkgver or arch twice');
  }
  if (!isPackageName(name))
    throw new FormatError('IDENTITY_NAME', `pkgname is missing or no package name: ${JSON.stringify(name)}`);
  if (!isVersion(version))
    throw new FormatError('IDENTITY_NAME', `pkgver is missing or no version: ${JSON.stringify(version)}`);
  if (arch !== null && !isArch(arch))
    throw new FormatError('IDENTITY_NAME', `arch is no architecture: ${JSON.stringify(arch)}`);
  return { name, version, arch, dataHash };
}
