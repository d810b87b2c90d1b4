/** What a client does: reads an index and at once everything that it names, and says what does not fit together. Changes nothing. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';

export const indexFile = 'APKINDEX.tar.gz';

export interface Place {
  readonly name: string;
  /** Absolute path of what is served. */
  readonly directory: string;
}

interface Look {
  /** Files read, the index included. */
  readonly reads: number;
  readonly torn: string | null;
  /** Hex SHA-256 of the index; null when there is none yet. */
  readonly index: string | null;
}

/** What all readers have seen so far. */
export class Findings {
  readonly reads: Record<string, number> = {};
  readonly torn: string[] = [];
  /** An index that was followed by an older one. */
  readonly backwards: string[] = [];
}

/**
 * Reads one place again and again until aborted. `numberOf`: the upload that an index belongs to, undefined for an unknown one.
 * A look of `graceMs` or longer proves nothing: packages of an index that was replaced stay no longer.
 */
export async function readForEver(
  { name, directory }: Place,
  findings: Findings,
  numberOf: (sha256: string) => number | undefined,
  { graceMs, signal }: { readonly graceMs: number; readonly signal: AbortSignal },
): Promise<void> {
  findings.reads[name] = 0;
  let newest = 0;
  while (!signal.aborted) {
    const beganAt = performance.now();
    const look = await readOnce(directory);
    findings.reads[name] += look.reads;
    if (look.torn !== null && performance.now() - beganAt < graceMs) findings.torn.push(`${name}: ${look.torn}`);
    if (look.index !== null) {
      const number = numberOf(look.index);
      if (number === undefined) findings.torn.push(`${name}: an index that was never uploaded`);
      else if (number < newest) findings.backwards.push(`${name}: upload ${number} after ${newest}`);
      else newest = number;
    }
    // Chance in the pauses: never in step with the pushes.
    await sleep(50 + Math.random() * 200);
  }
}

/** Nothing is read before the first index is there. */
async function readOnce(directory: string): Promise<Look> {
  let bytes: Buffer;
  try {
    bytes = await readFile(join(directory, indexFile));
  } catch {
    // A mirror that has not been pushed to for the first time; that it stays empty is seen in the end.
    return { reads: 0, torn: null, index: null };
  }
  const index = createHash('sha256').update(bytes).digest('hex');
  let reads = 1;
  try {
    for (const stanza of gunzipSync(bytes)
      .toString('latin1')
      .split('\n\n')
      .filter((s) => s.includes('\nP:'))) {
      const field = (key: string): string => new RegExp(`(?:^|\\n|\\0)${key}:(.*)`).exec(stanza)?.[1] ?? '';
      const file = `${field('P')}-${field('V')}.apk`;
      const problem = problemOf(await readFile(join(directory, file)), Number(field('S')), field('C'));
      reads++;
      if (problem !== null) return { reads, torn: `${file}: ${problem}`, index };
    }
  } catch (error) {
    return { reads, torn: String(error), index };
  }
  return { reads, torn: null, index };
}

/** Index -> control hash -> data hash, as apk follows them. */
function problemOf(bytes: Buffer, size: number, control: string): string | null {
  if (bytes.length !== size) return `${bytes.length} bytes, the index says ${size}`;
  // The three gzip members of a package that makePackage made are stored, so their starts are plain to see.
  const start = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  const second = bytes.indexOf(start, 1);
  const third = bytes.indexOf(start, second + 1);
  const middle = bytes.subarray(second, third);
  if (`Q1${createHash('sha1').update(middle).digest('base64')}` !== control) return 'another control part';
  const datahash = /datahash = ([0-9a-f]{64})/.exec(middle.toString('latin1'))?.[1];
  if (datahash !== createHash('sha256').update(bytes.subarray(third)).digest('hex')) return 'other data';
  return null;
}
