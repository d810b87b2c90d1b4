/** `lockstepd completion`: prints the completions of a shell, and the names that they offer. */
import { loadSocket } from '../config/load.ts';
import { ConfigError, OperationError } from '../errors.ts';
import type { Status } from '../observe/status.ts';
import { askDaemon } from '../system/control.ts';
import { readSubcommand } from './arguments.ts';
import { type Command, exitCode, type Io } from './command.ts';
import { bashCompletion } from './completion-bash.ts';
import { fishCompletion } from './completion-fish.ts';
import { zshCompletion } from './completion-zsh.ts';
import type { TypedSpec } from './spec.ts';
import { specs } from './specs/all.ts';
import { spec } from './specs/completion.ts';
import { isStatus } from './status.ts';

export const command: Command = { spec, run };

/** `help` is no command of its own, but typed as one. */
export const typedSpecs: readonly TypedSpec[] = [
  ...specs,
  {
    name: 'help',
    summary: 'print the help of a command',
    arguments: [
      {
        name: 'COMMAND',
        kind: 'text',
        choices: Object.fromEntries(specs.map(({ name }) => [name, ''])),
        optional: true,
      },
    ],
  },
];

/** Who waits for a completion presses the key again sooner. */
const answerMs = 1000;
/** Others would have to be quoted in one way for each shell. */
const plainName = /^[\w./@+~-]+$/;

async function run(args: readonly string[], io: Io): Promise<number> {
  const asked = readSubcommand(spec, args);
  io.out(
    asked.name === 'names' ? await names(asked.operands[0], asked.values.config, io) : scripts[asked.name](typedSpecs),
  );
  return exitCode.ok;
}

const scripts = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

const namesOf = {
  mirror: ({ mirrors }: Status) => mirrors.map(({ name }) => name),
  batch: ({ batches }: Status) => batches.filter(({ state }) => state !== 'published').map(({ id }) => id),
  repository: ({ repositories }: Status) => repositories.map(({ path }) => path),
} as const;

async function names(kind: keyof typeof namesOf, configFile: string, io: Io): Promise<string> {
  const status = await statusOf(configFile, io);
  const plain = status === null ? [] : namesOf[kind](status).filter((name) => plainName.test(name));
  return [...new Set(plain)].map((name) => `${name}\n`).join('');
}

/** Null where it cannot be had: a line that is being typed is no place for errors. */
async function statusOf(configFile: string, io: Io): Promise<Status | null> {
  try {
    const { body } = await askDaemon(
      await loadSocket(configFile, { env: io.env }),
      '/status.json',
      undefined,
      answerMs,
    );
    return isStatus(body) ? body : null;
  } catch (error) {
    if (error instanceof ConfigError || error instanceof OperationError) return null;
    throw error;
  }
}
