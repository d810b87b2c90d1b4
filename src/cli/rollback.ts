/** `lockstepd rollback`: the signed indexes of an older generation become the next one. */
import { UsageError } from '../errors.ts';
import type { RollbackAnswer } from '../daemon/operate.ts';
import { escapeText } from '../system/log.ts';
import { type Command, exitCode, type Io } from './command.ts';
import {
  askConfigured,
  defaultConfigFile,
  messageIn,
  operationMs,
  readArgs,
  requireSuccess,
  whoRuns,
} from './options.ts';
import { bytesText } from '../observe/words.ts';

export const command: Command = {
  name: 'rollback',
  summary: 'publish the indexes of an older generation again',
  help: `Usage: lockstepd rollback --to N --reason TEXT [--repository PATH] [--dry-run] [--config FILE]

The signed indexes of generation N become the next generation, on the primary and on every mirror, if every package
that they name is still held: in a tree within the grace, or in the inbox. Otherwise says which are missing, changes
nothing and ends with 1. Repositories that did not exist at N leave. What was rolled back from still lies in the inbox:
it is held (REPLAY) until a newer index comes or it is approved.

  --to N             the generation; lockstepd history lists them
  --reason TEXT      kept in the history
  --repository PATH  only this repository
  --dry-run          only say what would change
  --config FILE      the daemon's configuration (default ${defaultConfigFile})

Example:
  lockstepd rollback --to 41 --reason 'mesa 25.3 breaks the boot' --dry-run
`,
  run: rollback,
};

async function rollback(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs('rollback', {
    args: [...args],
    options: {
      to: { type: 'string' },
      reason: { type: 'string' },
      repository: { type: 'string' },
      'dry-run': { type: 'boolean' },
      config: { type: 'string' },
    },
  });
  const to = values.to !== undefined && /^[1-9]\d{0,14}$/.test(values.to) ? Number(values.to) : null;
  if (to === null) throw new UsageError('rollback: --to: expected the number of a generation');
  if (values.reason === undefined || values.reason === '')
    throw new UsageError('rollback: --reason: expected why, for the history');
  const body = {
    to,
    repository: values.repository ?? null,
    who: whoRuns(io),
    why: values.reason,
    dry_run: values['dry-run'] ?? false,
  };
  const answer = await askConfigured(io, values.config ?? defaultConfigFile, '/control/rollback', body, operationMs);
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
