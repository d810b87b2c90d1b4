/** `lockstepd generate man`: prints a manual page, or writes all of them into a directory. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, OperationError, UsageError } from '../errors.ts';
import { systemClock } from '../system/clock.ts';
import { toInstant } from '../system/instant.ts';
import { escapeText } from '../system/log.ts';
import { version } from '../system/version.ts';
import type { Io } from './command.ts';
import { explainedSchema } from './generate-schema.ts';
import { commandPage, type ManContext, overviewPage } from './man.ts';
import { configPage } from './man-config.ts';
import { specs } from './specs/all.ts';

export interface ManRequest {
  readonly page: string | undefined;
  readonly into: string | undefined;
}

/** Prints the page, or the files that were written. Throws UsageError for a page that there is not. */
export async function generateMan({ page, into }: ManRequest, io: Io): Promise<void> {
  const pages = await manPages({ version, date: dateOf(io) });
  if (into === undefined) {
    const name = page ?? 'lockstepd';
    const [, text] = [...pages].find(([file]) => file.replace(/\.\d$/, '') === name) ?? [];
    if (text === undefined)
      throw new UsageError(
        `generate man: no page ${JSON.stringify(name)}: expected lockstepd, lockstepd.yaml or lockstepd-COMMAND`,
      );
    io.out(text);
    return;
  }
  if (page !== undefined) throw new UsageError('generate man: expected a PAGE or --into, got both');
  for (const [file, text] of pages) {
    const path = join(into, file);
    await writeFile(path, text).catch((error: unknown) => {
      throw new OperationError('STATE', `generate man: ${path}: ${messageOf(error)}: make the directory first`, {
        cause: error,
      });
    });
    io.out(`${escapeText(path)}\n`);
  }
}

/** Every page by the name of its file. */
export async function manPages(context: ManContext): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ['lockstepd.1', overviewPage(specs, context)],
    ...specs.map((spec): [string, string] => [`lockstepd-${spec.name}.1`, commandPage(spec, context)]),
    ['lockstepd.yaml.5', configPage(await explainedSchema(), context)],
  ]);
}

/** As builds that are to be reproducible say it (reproducible-builds.org/specs/source-date-epoch), or today. */
function dateOf({ env }: Io): string {
  const seconds = /^\d{1,11}$/.test(env.SOURCE_DATE_EPOCH ?? '') ? Number(env.SOURCE_DATE_EPOCH) : null;
  return toInstant(seconds === null ? systemClock.now() : seconds * 1000).slice(0, 10);
}
