/** `lockstepd recall`: takes a leaked or harmful package back, from the primary and every mirror, and keeps it out. */
import { posix } from 'node:path';
import { UsageError } from '../errors.ts';
import type { RecallAnswer } from '../daemon/operate.ts';
import type { Dependants } from '../publish/dependants.ts';
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

function linesOf({ files, broken_indexes: broken, dependants, mirrors }: RecallAnswer): string[] {
  if (files.length === 0) return [];
  return [
    ...files.map(({ repository, file, held }) => `${repository}/${file} (${heldText[held]})`),
    ...broken.map((path) => `breaks ${path}, which names it: clients get an error until a new index comes`),
    ...(dependants === null || broken.length === 0 ? [] : dependantLines(dependants, files.length)),
    ...(mirrors.length === 0 ? [] : [`on the mirrors ${mirrors.join(', ')} too`]),
  ];
}

/** One line a repository, or an index where both of its indexes have some; and one for what could not be looked at. */
function dependantLines({ indexes, unread }: Dependants, files: number): string[] {
  const it = files === 1 ? 'it' : 'them';
  const repositories = indexes.map(({ index }) => posix.dirname(index));
  const lines = indexes.map(({ index, count, needs, packages }) => {
    const repository = posix.dirname(index);
    const where = repositories.filter((other) => other === repository).length > 1 ? index : repository;
    const more = count - packages.length;
    const named = [...packages, ...(more === 0 ? [] : [`${more} more`])].join(', ');
    return `${where}: ${count === 1 ? '1 package needs' : `${count} packages need`} ${it} (${needs.join(', ')}): ${named}`;
  });
  const [first] = unread;
  if (first === undefined) return lines.length > 0 ? lines : [`no other served package needs ${it}`];
  const which = unread.length === 1 ? first.index : `${unread.length} indexes, ${first.index} for one`;
  return [...lines, `what needs ${it} is not known of ${which}: ${first.reason}`];
}

function isRecall(body: unknown): body is RecallAnswer {
  return typeof body === 'object' && body !== null && 'files' in body && 'broken_indexes' in body;
}
