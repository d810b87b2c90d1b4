/** `lockstepd prune`: removes what nothing needs any more, or says what, why and how much that would be. */
import { OperationError } from '../errors.ts';
import type { PruneAnswer } from '../daemon/operate.ts';
import { toInstant } from '../system/instant.ts';
import { escapeText } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, operationMs, requireSuccess } from './options.ts';
import { bytesText } from '../observe/words.ts';
import { spec } from './specs/prune.ts';

export const command: Command = { spec, run: prune };

async function prune(args: readonly string[], io: Io): Promise<number> {
  const { values } = readArgs(spec, args);
  const dryRun = values['dry-run'];
  const file = values.config;
  const answer = await askConfigured(io, file, '/control/prune', { dry_run: dryRun }, operationMs);
  requireSuccess(answer);
  if (!isPrune(answer.body)) throw new OperationError('STATE', 'the daemon answered with something else than a prune');
  io.out(
    `${textOf(answer.body, dryRun ? 'would go' : 'went')
      .map(escapeText)
      .join('\n')}\n`,
  );
  return exitCode.ok;
}

function textOf({ message, limit, due, heldBack, indexes, mirrors }: PruneAnswer, verb: string): string[] {
  const lines = (sum: PruneAnswer['due']): string[] => [
    ...sum.first.map(
      (p) => `  ${p.path} (${bytesText(p.size)}): left with generation ${p.removed}, ${toInstant(p.removedAtMs)}`,
    ),
    ...(sum.files > sum.first.length ? [`  and ${sum.files - sum.first.length} more`] : []),
  ];
  const behind = limit.heldBy.map(({ name, serves }) => `${name} (generation ${serves ?? 'unknown'})`).join(', ');
  return [
    `${due.files} packages ${verb}, ${bytesText(due.bytes)}: over their grace`,
    ...lines(due),
    ...(heldBack.files === 0
      ? []
      : [`${heldBack.files} packages stay, ${bytesText(heldBack.bytes)}, for mirrors that are behind: ${behind}`]),
    ...lines(heldBack),
    ...mirrors.flatMap((mirror) => mirrorLines(mirror, lines)),
    ...(indexes === 0 ? [] : [`${indexes} kept indexes ${verb}: too old for a rollback`]),
    message,
  ];
}

/** A mirror is pruned by its own next push, in whatever way this command is called. */
function mirrorLines(
  { name, serves, due, waits, keepsHere }: PruneAnswer['mirrors'][number],
  lines: (sum: PruneAnswer['due']) => string[],
): string[] {
  if (serves === null)
    return [`${name}: what it serves is not known: the next push compares it, and removes what nothing needs`];
  return [
    ...(due.files === 0
      ? []
      : [
          `${name}: ${due.files} packages go with its next push, ${bytesText(due.bytes)}: over their grace, and not named by generation ${serves}, which it serves`,
          ...lines(due),
        ]),
    ...(waits.files === 0
      ? []
      : [
          `${name}: ${waits.files} packages stay there, ${bytesText(waits.bytes)}: it serves generation ${serves}, which names them`,
          ...lines(waits),
        ]),
    ...(keepsHere.files === 0
      ? []
      : [`${name}: ${keepsHere.files} packages stay on the primary for it, ${bytesText(keepsHere.bytes)}`]),
  ];
}

function isPrune(body: unknown): body is PruneAnswer {
  return typeof body === 'object' && body !== null && 'due' in body && 'heldBack' in body;
}
