/** Writes lockstepd.yaml(5) from the JSON Schema of the configuration, whose descriptions come from the annotated example. Asks nobody. */
import type { JsonSchema } from '../config/json-schema.ts';
import { bold, example, italic, item, type ManContext, page, paragraphs, seeAlso } from './man.ts';
import { defaultConfigFile } from './spec.ts';

/** The page; every key by its whole path, in the order of the schema. */
export function configPage(schema: JsonSchema, context: ManContext): string {
  const { properties = {} } = schema;
  return page('lockstepd.yaml', 5, context, [
    '.SH NAME',
    'lockstepd.yaml \\- configuration of lockstepd',
    '.SH SYNOPSIS',
    italic(defaultConfigFile),
    '.SH DESCRIPTION',
    ...paragraphs([
      'A YAML 1.2 document. A key that is not known is an error, and so is one that is missing and has no default. `lockstepd check` says every mistake at once, with line and column; `lockstepd reload` takes changes over, or keeps the old configuration when the new one is wrong.',
      'Durations are written 500ms, 5s, 10m, 48h, 7d or 0; sizes 500KiB, 64MiB, 2GiB, 1TiB or as a number of bytes. In path templates * is any one component of a path, {arch} is the architecture of the packages.',
      'Editors check the file and explain its keys with the schema that `lockstepd generate schema` prints, when the file begins with:',
    ]),
    ...example(['# yaml-language-server: $schema=/usr/share/doc/lockstepd/lockstepd.schema.json']),
    ...Object.entries(properties).flatMap(([key, value]) => [
      `.SH ${key.toUpperCase().replaceAll('_', ' ')}`,
      ...keyItems(key, value, schema.required?.includes(key) ?? false),
    ]),
    '.SH FILES',
    ...item(italic('/usr/share/doc/lockstepd/lockstepd.example.yaml'), ['An example with every key.']),
    ...seeAlso([
      ['lockstepd', 1],
      ['lockstepd-check', 1],
    ]),
  ]);
}

/** The key itself and, below it, every key within. */
function keyItems(path: string, schema: JsonSchema, required: boolean): string[] {
  const { description = '' } = schema;
  const [note, expected] = partsOf(description);
  const variants = schema.oneOf ?? [];
  const facts = [
    expected ?? wordsOf(schema),
    ...(required ? ['required'] : []),
    ...(schema.default === undefined ? [] : [`default ${defaultText(schema.default)}`]),
  ].filter((fact) => fact !== '');
  const texts = [...(note === '' ? [] : [note]), ...(facts.length === 0 ? [] : [`${capital(facts.join('; '))}.`])];
  return [
    ...(texts.length === 0 ? [] : item(bold(path), texts)),
    ...within(path, schema),
    ...variants.flatMap((variant) => {
      const type = String(variant.properties?.type?.const ?? '');
      const [kind] = partsOf(variant.description ?? '');
      return [`.SS ${path} of type ${type}`, ...paragraphs(kind === '' ? [] : [kind]), ...within(path, variant)];
    }),
    ...(variants.length === 0 ? [] : ['.SS More keys of a mirror']),
  ];
}

function within(path: string, { properties = {}, required = [], items }: JsonSchema): string[] {
  const own = Object.entries(properties).filter(([key]) => !(path.endsWith('.transport') && key === 'type'));
  return [
    ...own.flatMap(([key, value]) => keyItems(`${path}.${key}`, value, required.includes(key))),
    ...(items?.properties === undefined ? [] : within(`${path}[]`, items)),
  ];
}

/** What is said of the key, and what is expected there. */
function partsOf(description: string): [note: string, expected: string | null] {
  const [, note = '', expected] = /^(.*?)(?:(?:^|\n\n)Expected: (.*))?$/s.exec(description) ?? [];
  return [note, expected ?? null];
}

function wordsOf({ enum: words, type, properties }: JsonSchema): string {
  if (words !== undefined) return `one of ${words.map(String).join(', ')}`;
  return type === 'boolean' && properties === undefined ? 'true or false' : '';
}

function defaultText(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(String).join(', ')}]` : String(value);
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
