/** Reads a configuration file and says everything that is wrong with it at once, each problem with its line and column. */
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ConfigError, type ConfigProblem, messageOf } from '../errors.ts';
import { contradictions, outlineOf } from './consistency.ts';
import { diskProblems } from './disk.ts';
import { readYaml } from './document.ts';
import { type Config, parseConfig, socketIn } from './schema.ts';

const maxFileBytes = 1024 * 1024;

export interface LoadOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** True for a look at the file from outside the service: a credential that only systemd hands over is then not missed. */
  readonly outsideService?: boolean;
  /** True for whoever only asks the daemon something: they may not be allowed to read its keys. */
  readonly ignoreDisk?: boolean;
}

/** The configuration in `file`. Throws ConfigError with every problem of the text, the values and the paths on the disk. */
export async function loadConfig(file: string, options: LoadOptions): Promise<Config> {
  return loadConfigText(file, await readText(file), options);
}

/** The configuration that `text` would be as the file `file`, which is not looked at. Throws as loadConfig. */
export async function loadConfigText(file: string, text: string, options: LoadOptions): Promise<Config> {
  const document = readYaml(file, text);
  if (document.broken) throw new ConfigError(inOrder(document.problems));
  const credentialsDirectory = options.env.CREDENTIALS_DIRECTORY ?? null;
  const parsed = parseConfig(document.value, { file: resolve(file), credentialsDirectory });
  const outline = outlineOf(document.value);
  const disk = { credentialsDirectory, outsideService: options.outsideService ?? false };
  const keyProblems = [
    ...('problems' in parsed ? parsed.problems : []),
    ...contradictions(outline),
    ...(options.ignoreDisk === true ? [] : await diskProblems(outline, disk)),
  ];
  const problems = [...document.problems, ...keyProblems.map(document.locate)];
  if (problems.length > 0 || !('value' in parsed)) throw new ConfigError(inOrder(problems));
  return parsed.value;
}

/**
 * The socket on which the daemon of `file` is asked. Everything else in the file may be wrong: whoever has just broken it
 * wants to see all the more how the daemon does. Throws ConfigError when the file does not even tell the socket.
 */
export async function loadSocket(file: string, options: Pick<LoadOptions, 'env'>): Promise<string> {
  const document = readYaml(file, await readText(file));
  const { socket, state } = outlineOf(document.value);
  if (!document.broken && socket?.startsWith('/')) return socket;
  if (!document.broken && socket === undefined && state !== undefined) return socketIn(state);
  return (await loadConfig(file, { ...options, outsideService: true, ignoreDisk: true })).socket;
}

async function readText(file: string): Promise<string> {
  const refuse = (message: string): ConfigError =>
    new ConfigError([{ file, line: 1, column: 1, key: '(file)', message }]);
  const buffer = Buffer.alloc(maxFileBytes + 1);
  let length = 0;
  try {
    await using handle = await open(file);
    for (let read = 1; read > 0 && length <= maxFileBytes; length += read) {
      read = (await handle.read(buffer, length, buffer.length - length)).bytesRead;
    }
  } catch (error) {
    throw refuse(`cannot be read (${messageOf(error)}), expected a YAML file`);
  }
  if (length > maxFileBytes) throw refuse(`has more than ${maxFileBytes} bytes, expected a YAML file of at most 1 MiB`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length));
  } catch {
    throw refuse('is not UTF-8, expected a YAML file in UTF-8');
  }
}

/** By position; at one key only the first problem said of it. */
function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const place = (problem: ConfigProblem): string => `${problem.line}:${problem.column}:${problem.key}`;
  const unique = [...new Map(problems.toReversed().map((problem) => [place(problem), problem])).values()].toReversed();
  return unique.sort((a, b) => a.line - b.line || a.column - b.column);
}
