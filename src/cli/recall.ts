/** `lockstepd recall`: takes a leaked or harmful package back, from the primary and every mirror, and keeps it out. */
import { UsageError } from '../errors.ts';
import type { RecallAnswer } from '../daemon/operate.ts';
import { escapeText } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, messageIn, operationMs, requireSuccess, whoRuns } from './options.ts';
import { spec } from './specs/recall.ts';

export const command: Command = { spec, run: recall };

async function recall(args: readonly string[], io: Io): Promise<number> {
  const { values, operands } = readArgs(spec, args);
  const body = {
    package: operands[0],
    all: values.all,
    who: whoRuns(io),
    why: values.reason,
    dry_run: values['dry-run'],
  };
  if (body.why === '') throw new UsageError('recall: --reason: expected why, for the history');
  const answer = await askConfigured(io, values.config, '/control/recall', body, operationMs);
  if (isRecall(answer.body)) {
    const print = answer.status === 200 ? io.out : io.err;
    for (const line of linesOf(answer.body)) print(`  ${escapeText(line)}\n`);
  }
  requireSuccess(answer);
  io.out(`${escapeText(messageIn(answer))}\n`);
  return exitCode.ok;
}

const heldText = {
  served: 'served',
  'in grace': 'in its grace: no served index names it',
  pruned: 'pruned here: mirrors that were away may hold it',
} as const;

function linesOf({ files, broken_indexes: broken, mirrors }: RecallAnswer): string[] {
  if (files.length === 0) return [];
  return [
    ...files.map(({ repository, file, held }) => `${repository}/${file} (${heldText[held]})`),
    ...broken.map((path) => `breaks ${path}, which names it: clients get an error until a new index comes`),
    ...(mirrors.length === 0 ? [] : [`on the mirrors ${mirrors.join(', ')} too`]),
  ];
}

function isRecall(body: unknown): body is RecallAnswer {
  return typeof body === 'object' && body !== null && 'files' in body && 'broken_indexes' in body;
}
