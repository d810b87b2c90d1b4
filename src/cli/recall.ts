/** `lockstepd recall`: takes a leaked or harmful package back, from the primary and every mirror, and keeps it out. */
import { UsageError } from '../errors.ts';
import type { RecallAnswer } from '../daemon/operate.ts';
import { escapeText } from '../system/log.ts';
import { type Command, exitCode, type Io } from './command.ts';
import {
  askConfigured,
  defaultConfigFile,
  messageIn,
  oneArgument,
  operationMs,
  readArgs,
  requireSuccess,
  whoRuns,
} from './options.ts';

export const command: Command = {
  name: 'recall',
  summary: 'remove a package everywhere at once, and keep it out',
  help: `Usage: lockstepd recall PACKAGE --reason TEXT [--all] [--dry-run] [--config FILE]

Removes the file from the public tree and every other tree at once, and from each mirror with its next push, also one
that is down now. An upload that brings the same bytes again is refused (RECALLED). Indexes that name the file go on
naming it: clients cannot install it until the builder uploads an index without it, or roll back to an older one.

A file that was pruned here already can be recalled too: it goes from mirrors that come back with it.

  PACKAGE         NAME, NAME-VERSION or REPOSITORY/FILE
  --reason TEXT   kept in the history
  --all           every file that PACKAGE means, if that is more than one
  --dry-run       only say what would go, and what that breaks
  --config FILE   the daemon's configuration (default ${defaultConfigFile})

Example:
  lockstepd recall main/x86_64/openssh-10.0-r3.apk --reason 'contains a private key'
`,
  run: recall,
};

async function recall(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = readArgs('recall', {
    args: [...args],
    allowPositionals: true,
    options: {
      reason: { type: 'string' },
      all: { type: 'boolean' },
      'dry-run': { type: 'boolean' },
      config: { type: 'string' },
    },
  });
  const body = {
    package: oneArgument('recall', positionals, 'package'),
    all: values.all ?? false,
    who: whoRuns(io),
    why: values.reason ?? '',
    dry_run: values['dry-run'] ?? false,
  };
  if (body.why === '') throw new UsageError('recall: --reason: expected why, for the history');
  const answer = await askConfigured(io, values.config ?? defaultConfigFile, '/control/recall', body, operationMs);
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
