/** `lockstepd history`: the generations and the decisions, newest first. */
import { OperationError, UsageError } from '../errors.ts';
import { type HistoryPage, type HistoryView, renderHistoryText } from '../observe/history.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, requireSuccess } from './options.ts';
import { escapeJson } from '../system/log.ts';
import { spec } from './specs/history.ts';

const maximumLimit = 10_000;
/** Entries in one answer of the daemon. */
const pieceSize = 100;

export const command: Command = { spec, run: history };

async function history(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs(spec, args);
  const limit = wholeNumber(values.limit);
  const entries: HistoryView[] = [];
  let before: HistoryPage['next'] = null;
  do {
    io.signal.throwIfAborted();
    const answer = await askConfigured(io, values.config, '/control/history', {
      limit: Math.min(pieceSize, limit - entries.length),
      before,
    });
    requireSuccess(answer);
    if (!isHistory(answer.body))
      throw new OperationError('STATE', 'the daemon answered with something else than a history');
    const piece: HistoryPage = answer.body;
    entries.push(...piece.entries);
    before = piece.next;
  } while (before !== null && entries.length < limit);
  if (values.json) io.out(`${escapeJson(JSON.stringify({ version: 1, entries }, null, 1), { lines: true })}\n`);
  else io.out(renderHistoryText(entries));
  return exitCode.ok;
}

function wholeNumber(written: string): number {
  const limit = /^\d{1,5}$/.test(written) ? Number(written) : Number.NaN;
  if (limit >= 1 && limit <= maximumLimit) return limit;
  throw new UsageError(
    `history: --limit ${JSON.stringify(written)}: expected a whole number from 1 to ${maximumLimit}`,
  );
}

function isHistory(body: unknown): body is HistoryPage {
  return typeof body === 'object' && body !== null && 'version' in body && body.version === 1 && 'entries' in body;
}
