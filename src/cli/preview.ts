/** `lockstepd preview`: what a batch that is not published would change, before somebody decides. */
import { OperationError, UsageError } from '../errors.ts';
import { type BatchPreview, renderPreviewText } from '../observe/preview.ts';
import { systemClock } from '../system/clock.ts';
import { escapeJson } from '../system/log.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { askConfigured, defaultConfigFile, oneArgument, readArgs, requireSuccess } from './options.ts';

const defaultLimit = 20;
const maximumLimit = 1000;

export const command: Command = {
  name: 'preview',
  summary: 'show what a batch would change, before it is decided',
  help: `Usage: lockstepd preview BATCH [--limit N] [--json] [--config FILE]

For each index of a batch that waits, is held or was rejected: what would be added, upgraded, downgraded,
rebuilt and removed, how much must be copied, who signed the index and how old it is.

  --limit N       names of each kind of change, 0 to ${maximumLimit} (default ${defaultLimit})
  --json          the same as JSON
  --config FILE   the daemon's configuration (default ${defaultConfigFile})

Example:
  lockstepd preview 20261122T190000-bpo-1f2e3d4c
`,
  run: preview,
};

async function preview(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = readArgs('preview', {
    args: [...args],
    allowPositionals: true,
    options: { json: { type: 'boolean' }, limit: { type: 'string' }, config: { type: 'string' } },
  });
  const batch = oneArgument('preview', positionals, 'batch');
  const limit = wholeNumber(values.limit ?? String(defaultLimit));
  const file = values.config ?? defaultConfigFile;
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
