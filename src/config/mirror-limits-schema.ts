/** How much of the world a mirror takes and when: part, bandwidth and quiet windows; and the limits of all mirrors together. */
import { z } from 'zod';
import { expects, listOf, section, text, wholeNumber } from './fields.ts';
import type { Part } from './part.ts';
import { parseQuiet, type QuietWindow, quietExample, quietMsAt } from './quiet.ts';
import { parseTemplate, templateExample } from './template.ts';
import { parseSize, sizeExample } from './units.ts';

export interface MirrorLimits {
  /** Which repositories it takes. */
  readonly part: Part;
  /** Payload bytes in a second; null: no limit. */
  readonly bytesPerSecond: number | null;
  readonly quiet: readonly QuietWindow[];
}

export interface Limits {
  /** Mirrors that are worked on at a time. */
  readonly connections: number;
  /** Payload bytes in a second to all mirrors together; null: no limit. */
  readonly bytesPerSecond: number | null;
}

/** Below it a mirror would be cut off for being silent. */
const smallestBandwidth = 64 * 1024;

const bandwidth = z.union([z.string(), z.number()], expects(sizeExample)).transform((written, context) => {
  const parsed = parseSize(String(written));
  if ('value' in parsed && parsed.value >= smallestBandwidth) return parsed.value;
  const tooSmall = `${JSON.stringify(written)}, expected at least 64KiB, sent in a second`;
  context.addIssue({ code: 'custom', message: 'value' in parsed ? tooSmall : parsed.problem });
  return z.NEVER;
});

const dayMs = 86_400_000;

const quiet = listOf('quiet windows', text(quietExample, parseQuiet), 1).superRefine((windows, context) => {
  if (quietMsAt(windows, 0) < dayMs) return;
  const message = 'it is always quiet, expected windows that leave some time for pushes';
  context.addIssue({ code: 'custom', message });
});

const templates = listOf('path templates', text(templateExample, parseTemplate), 1);

/** Keys of a mirror beside its transport. */
export const mirrorLimits = {
  include: templates.optional(),
  exclude: templates.optional(),
  bandwidth: bandwidth.optional(),
  quiet: quiet.optional(),
};

export function toMirrorLimits(written: z.output<z.ZodObject<typeof mirrorLimits>>): MirrorLimits {
  return {
    part: { include: written.include ?? [], exclude: written.exclude ?? [] },
    bytesPerSecond: written.bandwidth ?? null,
    quiet: written.quiet ?? [],
  };
}

export const limits = section({ connections: wholeNumber(1, 1000).prefault(8), bandwidth: bandwidth.optional() });

export function toLimits(written: z.output<typeof limits>): Limits {
  return { connections: written.connections, bytesPerSecond: written.bandwidth ?? null };
}
