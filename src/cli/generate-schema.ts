/** `lockstepd generate schema`: the JSON Schema of the configuration, explained by the annotated example that ships. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { exampleNotes } from '../config/example-notes.ts';
import { configJsonSchema, type JsonSchema } from '../config/json-schema.ts';
import { messageOf, OperationError } from '../errors.ts';

/** Beside src in a checkout, beside dist where it is installed. */
const exampleFile = fileURLToPath(new URL('../../config/lockstepd.example.yaml', import.meta.url));

export async function generateSchema(): Promise<string> {
  return `${JSON.stringify(await explainedSchema(), null, 2)}\n`;
}

/** The schema with what the example says of each key. Throws OperationError when the example is not where it ships. */
export async function explainedSchema(): Promise<JsonSchema> {
  const notes = exampleNotes(
    await readExample(),
    configJsonSchema(() => null),
  );
  return configJsonSchema(notes);
}

async function readExample(): Promise<string> {
  try {
    return await readFile(exampleFile, 'utf8');
  } catch (error) {
    throw new OperationError('STATE', `${exampleFile}: ${messageOf(error)}: install the whole package again`, {
      cause: error,
    });
  }
}
