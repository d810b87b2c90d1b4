/** `lockstepd rollback`: the signed indexes of an older generation become the next one. */
import { UsageError } from '../errors.ts';
import type { RollbackAnswer } from '../daemon/operate.ts';
import { escapeText } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, messageIn, operationMs, requireSuccess, whoRuns } from './options.ts';
import { bytesText } from '../observe/words.ts';
import { spec } from './specs/rollback.ts';

export const command: Command = { spec, run: rollback };

async function rollback(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs(spec, args);
  const to = /^[1-9]\d{0,14}$/.test(values.to) ? Number(values.to) : null;
  if (to === null) throw new UsageError('rollback: --to: expected the number of a generation');
  if (values.reason === '') throw new UsageError('rollback: --reason: expected why, for the history');
  const body = {
    to,
    repository: values.repository ?? null,
    who: whoRuns(io),
    why: values.reason,
    dry_run: values['dry-run'],
  };
  const answer = await askConfigured(io, values.config, '/control/rollback', body, operationMs);
  if (!isRollback(answer.body)) {
    requireSuccess(answer);
    return exitCode.failure;
  }
  const { steps, missing, missing_count: count } = answer.body;
  if (answer.status !== 200) {
    for (const { path, why } of missing) io.err(`  ${escapeText(path)}: ${escapeText(why)}\n`);
    if (count > missing.length) io.err(`  and ${count - missing.length} more\n`);
    requireSuccess(answer);
  }
  for (const step of steps) io.out(`  ${escapeText(lineOf(step))}\n`);
  io.out(`${escapeText(messageIn(answer))}\n`);
  return exitCode.ok;
}

function lineOf({ path, to, back, leave, bytes }: RollbackAnswer['steps'][number]): string {
  if (to === null) return `${path}: leaves with ${leave} packages`;
  return `${path}: ${to.slice(0, 12)} comes back, ${back} packages come (${bytesText(bytes)}), ${leave} leave`;
}

function isRollback(body: unknown): body is RollbackAnswer {
  return typeof body === 'object' && body !== null && 'steps' in body && 'missing' in body;
}
