/** Reads trace files: what the publisher of a tree says of it. Nobody signs it, so it may group and explain, never prove. Pure. */
import { z } from 'zod';

/** Its name at the root of each public tree. */
export const traceFile = 'lockstep.json';

/** A trace has about 200 bytes for each index; what is longer is none. */
export const traceLimit = 4 * 1024 * 1024;

export interface Trace {
  readonly generation: number;
  /** Who published it; null: it does not say. */
  readonly primary: string | null;
  readonly publishedAtMs: number;
  /** Path of each index -> its SHA-256. */
  readonly indexes: ReadonlyMap<string, string>;
}

const schema = z.object({
  generation: z.int().min(1),
  primary: z.string().max(255).nullable().default(null),
  published_at: z.iso.datetime().transform((text) => Date.parse(text)),
  repositories: z.array(z.object({ path: z.string(), index: z.string(), index_sha256: z.string() })),
});

/** The content of a trace file; null for anything else. */
export function parseTrace(text: string): Trace | null {
  let parsed: z.output<typeof schema>;
  try {
    parsed = schema.parse(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return null;
    throw error;
  }
  const { generation, primary, published_at: publishedAtMs, repositories } = parsed;
  return {
    generation,
    primary,
    publishedAtMs,
    indexes: new Map(repositories.map((one) => [`${one.path}/${one.index}`, one.index_sha256])),
  };
}
