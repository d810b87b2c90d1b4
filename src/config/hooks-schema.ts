/** What a configuration says about programs that are run when something happens. */
import type { z } from 'zod';
import { describe, duration, listOf, mapping, oneOf, text } from './fields.ts';
import { name, plainPath } from './names.ts';
import type { Parsed } from './units.ts';

/** What hooks are told of (closed set, public API: the same words in the configuration, the JSON and the metrics). */
const hookEvents = ['published', 'held', 'rejected', 'mirror_blocked', 'mirror_recovered'] as const;
export type HookEvent = (typeof hookEvents)[number];

export interface HookConfig {
  readonly name: string;
  readonly on: readonly HookEvent[];
  /** The program by its absolute path, then its arguments: no shell reads them. */
  readonly command: readonly [string, ...string[]];
  /** Our deadline for one run. */
  readonly timeoutMs: number;
}

/** Each one may run a program at the same time as the others. */
const maxHooks = 16;
const maxArguments = 64;
const maxArgumentBytes = 4096;

const argumentExample = `an argument of at most ${maxArgumentBytes} bytes without control characters`;
function parseArgument(written: string): Parsed<string> {
  const bad = /\p{Cc}/u.test(written) || Buffer.byteLength(written) > maxArgumentBytes;
  return bad ? { problem: `${describe(written)}, expected ${argumentExample}` } : { value: written };
}

const hook = mapping('a hook', {
  name: name('a name'),
  on: listOf(`events (${hookEvents.join(', ')})`, oneOf(...hookEvents), 1),
  command: listOf('strings: the program and its arguments', text(argumentExample, parseArgument), 1),
  timeout: duration('1s', '1h').prefault('30s'),
}).superRefine((written, context) => {
  const [program = ''] = written.command;
  const path = plainPath(program);
  if (!program.startsWith('/') || 'problem' in path)
    context.addIssue({
      code: 'custom',
      path: ['command', 0],
      message: `${describe(program)}, expected the absolute path of a program`,
    });
  if (written.command.length > maxArguments)
    context.addIssue({
      code: 'custom',
      path: ['command'],
      message: `${written.command.length} strings, expected at most ${maxArguments}`,
    });
});

export const hooks = listOf('hooks', hook, 0).max(maxHooks, {
  error: ({ input }) => `${(input as unknown[]).length} hooks, expected at most ${maxHooks}`,
});

/** A hook as the other rooms read it. */
export function toHook(written: z.output<typeof hook>): HookConfig {
  const [program = '', ...args] = written.command;
  return {
    name: written.name,
    on: hookEvents.filter((event) => written.on.includes(event)),
    command: [program, ...args],
    timeoutMs: written.timeout,
  };
}
