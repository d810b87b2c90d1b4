/** How fast a scrub reads and how much of each mirror it looks into: the section `scrub`. */
import { z } from 'zod';
import { expects, section } from './fields.ts';
import { parseSize, sizeExample } from './units.ts';

export interface ScrubSettings {
  /** Bytes that a scrub reads in a second, of our own disk and of each mirror. */
  readonly bytesPerSecond: number;
  /** Packages of each mirror whose content is read, where it can be read; null: all. */
  readonly sample: number | null;
}

const smallestRate = 64 * 1024;
const mostSamples = 10_000_000;

const rate = z.union([z.string(), z.number()], expects(sizeExample)).transform((written, context) => {
  const parsed = parseSize(String(written));
  if ('value' in parsed && parsed.value >= smallestRate) return parsed.value;
  const tooSmall = `${JSON.stringify(written)}, expected at least 64KiB, read in a second`;
  context.addIssue({ code: 'custom', message: 'value' in parsed ? tooSmall : parsed.problem });
  return z.NEVER;
});

const sampleExpected = expects(`all, or a whole number from 0 to ${mostSamples}`);
const sample = z.union([z.literal('all'), z.int().min(0).max(mostSamples)], sampleExpected);

export const scrub = section({ rate: rate.prefault('32MiB'), mirror_sample: sample.prefault(50) });

export function toScrub(written: z.output<typeof scrub>): ScrubSettings {
  const { rate: bytesPerSecond, mirror_sample: packages } = written;
  return { bytesPerSecond, sample: packages === 'all' ? null : packages };
}
