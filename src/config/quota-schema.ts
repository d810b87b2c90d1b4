/** How much a builder may bring and how much of what was refused is kept: the sections `quotas`, `quarantine` and the key `reserve`. */
import { z } from 'zod';
import { duration, expects, section, wholeNumber } from './fields.ts';
import { parseSize, sizeExample } from './units.ts';

/** What one inbox may bring; sizes in bytes. A batch over one of them is held until it is raised or the upload is mended. */
export interface Quotas {
  /** One package. */
  readonly maxFileBytes: number;
  /** All packages that are new in the repositories that go out together. */
  readonly maxBatchBytes: number;
  /** All packages that are new in the repositories of the inbox that go out or wait for files. */
  readonly maxInboxBytes: number;
  /** Packages that one index names. */
  readonly maxPackages: number;
  /** Directories of the inbox that match one path template, at each of its levels. */
  readonly maxRepositories: number;
}

/** What is kept of refused batches; the oldest go first. */
export interface QuarantineLimits {
  readonly keepMs: number;
  readonly maxBytes: number;
  readonly maxBatches: number;
}

/** A size such as `2GiB`, in bytes. */
export function size() {
  return z.union([z.string(), z.number()], expects(sizeExample)).transform((written, context) => {
    const parsed = parseSize(String(written));
    if ('value' in parsed) return parsed.value;
    context.addIssue({ code: 'custom', message: parsed.problem });
    return z.NEVER;
  });
}

export const quotas = section({
  max_file: size().prefault('4GiB'),
  max_batch: size().prefault('64GiB'),
  max_inbox: size().prefault('256GiB'),
  max_packages: wholeNumber(1, 1_000_000).prefault(200_000),
  max_repositories: wholeNumber(1, 10_000).prefault(1000),
});

export const quarantine = section({
  keep: duration('0', '365d').prefault('30d'),
  max_size: size().prefault('10GiB'),
  max_batches: wholeNumber(1, 10_000).prefault(1000),
});

export const reserve = size().prefault('64MiB');

export function toQuotas(written: z.output<typeof quotas>): Quotas {
  return {
    maxFileBytes: written.max_file,
    maxBatchBytes: written.max_batch,
    maxInboxBytes: written.max_inbox,
    maxPackages: written.max_packages,
    maxRepositories: written.max_repositories,
  };
}

export function toQuarantine(written: z.output<typeof quarantine>): QuarantineLimits {
  return { keepMs: written.keep, maxBytes: written.max_size, maxBatches: written.max_batches };
}
