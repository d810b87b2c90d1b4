/** Writes the shape of the configuration as a JSON Schema (draft 2020-12), for editors and for the manual page. Asks nobody. */
import { z } from 'zod';
import { keySources, keySourcesShape } from './keys-schema.ts';
import { document } from './schema.ts';

/** The part of JSON Schema that a configuration needs. */
export interface JsonSchema {
  type?: string | string[];
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: string | number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  pattern?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  $schema?: string;
  title?: string;
}

/** What is said about the key at `path`, such as `mirrors[].transport.host`; `variant` is the `type` of a transport. */
export type Notes = (path: string, variant: string | null) => string | null;

/** The schema; each key has what `notes` says of it and what is expected there as its description. */
export function configJsonSchema(notes: Notes): JsonSchema {
  const schema = z.toJSONSchema(document, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema === keySources) Object.assign(jsonSchema, { anyOf: keysShape.anyOf });
      const expected = expectedBy(zodSchema);
      if (expected !== null && jsonSchema.description === undefined) jsonSchema.description = expected;
    },
  }) as JsonSchema;
  describe(schema, '', null, notes);
  return { ...schema, title: 'lockstepd.yaml', description: 'Configuration of lockstepd' };
}

const keysShape = z.toJSONSchema(keySourcesShape, { io: 'input' }) as Required<Pick<JsonSchema, 'anyOf'>>;

/** Every message of ours reads `what, expected what`. */
function expectedBy(schema: z.core.$ZodTypes): string | null {
  const error = (schema as unknown as z.ZodType).def.error as
    | ((issue: { readonly input?: unknown }) => unknown)
    | undefined;
  const message = error?.({});
  const text = typeof message === 'string' ? message : '';
  return text.startsWith('missing, expected ') ? text.slice('missing, expected '.length) : null;
}

function describe(schema: JsonSchema, path: string, variant: string | null, notes: Notes): void {
  const note = notes(path, variant);
  // What a mapping or a list of words is, an editor sees without words.
  const expected = schema.properties === undefined && schema.enum === undefined ? schema.description : undefined;
  delete schema.description;
  const texts = [...(note === null ? [] : [note]), ...(expected === undefined ? [] : [`Expected: ${expected}`])];
  if (texts.length > 0) schema.description = texts.join('\n\n');
  allowEmpty(schema);
  for (const [key, value] of Object.entries(schema.properties ?? {}))
    describe(value, path === '' ? key : `${path}.${key}`, variant, notes);
  if (schema.items !== undefined) describe(schema.items, `${path}[]`, variant, notes);
  for (const branch of schema.oneOf ?? []) describe(branch, path, variantOf(branch), notes);
}

function variantOf({ properties }: JsonSchema): string | null {
  const type = properties?.type?.const;
  return typeof type === 'string' ? type : null;
}

/** A section or list whose keys are all commented out has the value null, and its default is that of its keys. */
function allowEmpty(schema: JsonSchema): void {
  const { default: absent } = schema;
  if (typeof absent !== 'object' || absent === null || Object.keys(absent).length > 0) return;
  delete schema.default;
  schema.type = [String(schema.type), 'null'];
}
