/** Runs a program of the host in a plain environment and expects its exit code. */
import { exec } from '../../src/system/exec.ts';

/** What programs of a Debian get: its search path, and no questions. */
export const plainEnvironment = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  DEBIAN_FRONTEND: 'noninteractive',
};

/** Runs a program to its end and returns its stdout; throws with what it said when its exit code is another than `code`. */
export async function runs(
  argv: readonly [string, ...string[]],
  { timeoutMs = 60_000, code = 0 }: { readonly timeoutMs?: number; readonly code?: number } = {},
): Promise<string> {
  const output: Buffer[] = [];
  const onStdout = (chunk: Buffer): void => void output.push(chunk);
  const result = await exec(argv, { timeoutMs, env: plainEnvironment, onStdout });
  const stdout = Buffer.concat(output).toString('utf8');
  if (result.code === code) return stdout;
  const how = result.timedOut ? `was not over after ${timeoutMs} ms` : `ended with ${result.code ?? result.signal}`;
  throw new Error(`${argv.join(' ')} ${how}\n${result.stdout}${result.stderr}`);
}
