/** `lockstepd generate`: prints what other programs are fed with, made for this version. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errnoOf, OperationError, UsageError } from '../errors.ts';
import { readSubcommand } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { installedRunbook, spec } from './specs/generate.ts';

export const command: Command = { spec, run };

async function run(args: readonly string[], io: Io): Promise<number> {
  const asked = readSubcommand(spec, args);
  io.out(await textOf(asked));
  return exitCode.ok;
}

async function textOf(asked: ReturnType<typeof readSubcommand<typeof spec>>): Promise<string> {
  switch (asked.name) {
    case 'rules':
      return withRunbook(asked.values['runbook-base'], () => shipped('prometheus/lockstepd.rules.yml'));
    case 'dashboard':
      return shipped('grafana/lockstepd.json');
    default:
      return asked satisfies never;
  }
}

/** A file of the directory `config`, which lies beside the code, whether that is compiled or not. */
async function shipped(path: string): Promise<string> {
  const file = resolve(import.meta.dirname, '../../config', path);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new OperationError('LAYOUT', `${file}: not there: install the package again`);
  }
}

async function withRunbook(base: string, rules: () => Promise<string>): Promise<string> {
  // Neither YAML nor the templates of Prometheus may find something of their own in it.
  const url = /[\s{}#"'\\]/.test(base) ? null : URL.parse(base);
  if (url === null || !['http:', 'https:', 'file:'].includes(url.protocol))
    throw new UsageError(
      `generate rules: --runbook-base ${JSON.stringify(base)}: expected an http, https or file URL without # and braces, such as https://wiki.example.org/lockstepd/runbook`,
    );
  const prefix = base.endsWith('/') ? base : `${base}#`;
  return (await rules()).replaceAll(`${installedRunbook}#`, prefix);
}
