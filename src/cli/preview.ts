/** `lockstepd preview`: what a batch that is not published would change, before somebody decides. */
import { OperationError, UsageError } from '../errors.ts';
import { type BatchPreview, renderPreviewText } from '../observe/preview.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, requireSuccess } from './options.ts';
import { spec } from './specs/preview.ts';

const maximumLimit = 1000;

export const command: Command = { spec, run: preview };

async function preview(args: readonly string[], io: Io): Promise<number> {
  const { values, operands } = readArgs(spec, args);
  const [batch] = operands;
  const limit = wholeNumber(values.limit);
  const file = values.config;
  const indexes: BatchPreview['indexes'][number][] = [];
  let piece: BatchPreview;
  let after: string | null = null;
  do {
    io.signal.throwIfAborted();
    const answer = await askConfigured(io, file, '/control/preview', { batch, limit, after });
    requireSuccess(answer);
    if (!isPreview(answer.body))
      throw new OperationError('STATE', 'the daemon answered with something else than a preview');
    piece = answer.body;
    indexes.push(...piece.indexes);
    after = piece.next;
  } while (after !== null);
  const whole: BatchPreview = { ...piece, indexes };
  if (values.json) io.out(`${escapeJson(JSON.stringify(whole, null, 1), { lines: true })}\n`);
  else io.out(renderPreviewText(whole, systemClock.now()));
  return exitCode.ok;
}

function wholeNumber(written: string): number {
  const limit = /^\d{1,4}$/.test(written) ? Number(written) : Number.NaN;
  if (limit <= maximumLimit) return limit;
  throw new UsageError(
    `preview: --limit ${JSON.stringify(written)}: expected a whole number from 0 to ${maximumLimit}`,
  );
}

function isPreview(body: unknown): body is BatchPreview {
  return typeof body === 'object' && body !== null && 'version' in body && body.version === 1 && 'indexes' in body;
}
