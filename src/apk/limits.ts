/** The sizes at which a file is refused instead of read on, so that no input costs more than these in time or memory. */

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  /** A longer signature entry is passed over, as apk does. */
  signatureBytes: 64 * KiB,
  /** Inflated signature member: twice the longest signature, so that one that is too long is still read and passed over. */
  signatureMemberBytes: 128 * KiB,
  signatureMembers: 16,
  controlBytes: 8 * MiB,
  indexFileBytes: 64 * MiB,
  indexBytes: 512 * MiB,
  indexStanzas: 1_000_000,
  /** v3: dependencies and provided names of one index; shared values could make a small file name any number of them. */
  indexRelations: 5_000_000,
  /** A line of APKINDEX or .PKGINFO; apk itself refuses lines over 128 KiB. */
  lineBytes: 64 * KiB,
  paxBytes: MiB,
  /** `DESCRIPTION` of an index; a longer one is ignored, as apk does. */
  descriptionBytes: 160,
  gzipHeaderBytes: 64 * KiB,
  /** Compressed bytes that must give the first tar header of a member. */
  peekBytes: 16 * KiB,
  /** Inflated data of a package may be this much, and this many times its compressed size on top. */
  dataBytes: 64 * MiB,
  dataRatio: 200,
  /** v3: the payload of the ADB block, which is held in memory. */
  adbPackageBytes: 32 * MiB,
  adbIndexBytes: 128 * MiB,
  /** v3: a SIG block; the signature of an RSA key of 16384 bits has 2048 bytes. */
  adbSignatureBytes: 4 * KiB,
  adbSignatures: 16,
  /** v3: files and directories of one package; shared values could make a small file name any number of them. */
  adbFiles: 500_000,
  /** v3: the largest zstd window, 2 to the power of this: what clients take. */
  zstdWindowLog: 27,
} as const;
