/** The parts of `lockstepd generate` that print a file which ships as it stands: rules and dashboard. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errnoOf, OperationError, UsageError } from '../errors.ts';
import { installedRunbook } from './specs/generate.ts';

/** The rules, with links into the runbook at `base`. Throws UsageError for what is no address of a page. */
export async function generateRules(base: string): Promise<string> {
  // Neither YAML nor the templates of Prometheus may find something of their own in it.
  const url = /[\s{}#"'\\]/.test(base) ? null : URL.parse(base);
  if (url === null || !['http:', 'https:', 'file:'].includes(url.protocol))
    throw new UsageError(
      `generate rules: --runbook-base ${JSON.stringify(base)}: expected an http, https or file URL without # and braces, such as https://wiki.example.org/lockstepd/runbook`,
    );
  const prefix = base.endsWith('/') ? base : `${base}#`;
  return (await shipped('prometheus/lockstepd.rules.yml')).replaceAll(`${installedRunbook}#`, prefix);
}

export function generateDashboard(): Promise<string> {
  return shipped('grafana/lockstepd.json');
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
