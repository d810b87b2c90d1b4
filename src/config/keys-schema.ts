/** How a configuration names the directories of trusted keys: a path, a path with what its keys may sign, or a list of these. */
import { isAbsolute, resolve } from 'node:path/posix';
import { z } from 'zod';
import type { KeySource } from '../trust/keyring.ts';
import { listOf, mapping, text } from './fields.ts';
import { absolutePath } from './names.ts';
import { parseTemplate, templateExample } from './template.ts';

const directory = absolutePath('the absolute path of a directory of public keys');
const templates = listOf('path templates', text(templateExample, parseTemplate), 1);

const scopedShape = mapping('a directory of keys', { dir: directory, may_sign: templates.optional() });
const oneShape = z.union([directory, scopedShape]);
/** What may be written there, for a JSON Schema; problems are told by what `either` picks. */
export const keySourcesShape = z.union([...oneShape.options, z.array(oneShape).min(1)]);

const everywhere = directory.transform((path): KeySource => ({ directory: path, maySign: null }));
const scoped = scopedShape.transform(
  ({ dir, may_sign }): KeySource => ({ directory: dir, maySign: may_sign?.map((template) => template.text) ?? null }),
);

const source = either((value) => (isMapping(value) ? scoped : everywhere));
const list = listOf('directories of keys', source, 1);

/** The value of `keys:` in an inbox. */
export const keySources = either((value) => (Array.isArray(value) ? list : source.transform((one) => [one])));

/** The schema that `choose` picks by the look of the value, so that its problems are about what was meant. */
function either<T>(choose: (value: unknown) => z.ZodType<T>) {
  return z.unknown().transform((value, context): T => {
    const result = choose(value).safeParse(value);
    if (result.success) return result.data;
    // An issue is kept whole: where an unknown key stands is read from it.
    for (const issue of result.error.issues) context.issues.push({ ...issue, input: value } as z.core.$ZodRawIssue);
    return z.NEVER;
  });
}

/** The readable directories in whatever `keys:` says, with the place of each below it; for a look at a broken file. */
export function keyDirectories(value: unknown): (KeySource & { readonly at: readonly (string | number)[] })[] {
  if (Array.isArray(value))
    return value.flatMap((item: unknown, index) =>
      Array.isArray(item) ? [] : keyDirectories(item).map((found) => ({ ...found, at: [index, ...found.at] })),
    );
  const path = isMapping(value) ? value.dir : value;
  if (typeof path !== 'string' || !isAbsolute(path)) return [];
  return [{ directory: resolve(path), maySign: null, at: isMapping(value) ? ['dir'] : [] }];
}

function isMapping(value: unknown): value is { readonly dir?: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
