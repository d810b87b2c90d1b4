/** `lockstepd backup`: copies state.db as it is at one moment to a file, whether the daemon runs or not. */
import { randomUUID } from 'node:crypto';
import { link, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { loadConfig } from '../config/load.ts';
import { errnoOf, messageOf, OperationError } from '../errors.ts';
import { backUpDatabase } from '../store/database.ts';
import { stateFile } from '../store/store.ts';
import { syncDirectory } from '../system/durable.ts';
import { escapeText } from '../system/log.ts';
import { readArgs } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { spec } from './specs/backup.ts';

export const command: Command = { spec, run };

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, operands } = readArgs(spec, args);
  const target = resolve(operands[0]);
  const options = { env: io.env, outsideService: true, ignoreDisk: true };
  const { state } = await loadConfig(values.config, options);
  if (!(await isDirectory(dirname(target))))
    throw new OperationError('STATE', `backup ${target}: ${dirname(target)} is no directory: make it first`);
  const temporary = join(dirname(target), `.lockstepd-backup-${randomUUID()}`);
  try {
    backUpDatabase(join(state, stateFile), temporary);
    await (values.force ? rename(temporary, target) : linkNew(temporary, target));
    await syncDirectory(dirname(target));
  } finally {
    await rm(temporary, { force: true });
  }
  io.out(`${escapeText(target)}: the state as it is now\n`);
  return exitCode.ok;
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/** A name for what has none but the temporary one, unless it is taken. */
async function linkNew(temporary: string, target: string): Promise<void> {
  try {
    await link(temporary, target);
  } catch (error) {
    const there = errnoOf(error) === 'EEXIST';
    const why = there ? 'is there already: name another file, or say --force' : `cannot be made: ${messageOf(error)}`;
    throw new OperationError('STATE', `backup ${target}: ${why}`, { cause: error });
  }
}
