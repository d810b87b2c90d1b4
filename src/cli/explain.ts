/** `lockstepd explain`: the whole life of a package, an index or a batch. */
import { OperationError, UsageError } from '../errors.ts';
import type { Explanation } from '../observe/explain.ts';
import { renderExplanationText } from '../observe/explain-text.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, requireSuccess } from './options.ts';
import { spec } from './specs/explain.ts';

const maximumLimit = 50;

export const command: Command = { spec, run: explain };

async function explain(args: readonly string[], io: Io): Promise<number> {
  const { values, operands } = readArgs(spec, args);
  const [what] = operands;
  const limit = wholeNumber(values.limit);
  const answer = await askConfigured(io, values.config, '/control/explain', { what, limit });
  requireSuccess(answer);
  if (!isExplanation(answer.body))
    throw new OperationError('STATE', 'the daemon answered with something else than an explanation');
  if (values.json) io.out(`${escapeJson(JSON.stringify(answer.body, null, 1), { lines: true })}\n`);
  else io.out(renderExplanationText(answer.body, systemClock.now()));
  return exitCode.ok;
}

function wholeNumber(written: string): number {
  const limit = /^\d{1,2}$/.test(written) ? Number(written) : Number.NaN;
  if (limit >= 1 && limit <= maximumLimit) return limit;
  throw new UsageError(
    `explain: --limit ${JSON.stringify(written)}: expected a whole number from 1 to ${maximumLimit}`,
  );
}

function isExplanation(body: unknown): body is Explanation {
  return typeof body === 'object' && body !== null && 'version' in body && body.version === 1 && 'stories' in body;
}
