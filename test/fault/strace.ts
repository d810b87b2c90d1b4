/** Holds strace: attaches it to a process or one of its threads, to record calls or to make one of them fail. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export interface Attached {
  /** Lets the process go on without it; resolves when everything is written. */
  end(): Promise<void>;
}

/** Resolves once every thread is held. Never `--seccomp-bpf`: with it only the first call counts for `when=N`. */
export async function attach(args: readonly string[], calls: readonly string[]): Promise<Attached> {
  // A name that this machine does not know is passed over (?).
  const trace = `trace=${calls.map((call) => `?${call}`).join(',')}`;
  const strace = spawn('strace', ['-e', trace, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(strace, 'close');
  let said = '';
  strace.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  while (!said.includes('attached')) {
    if (strace.exitCode !== null) throw new Error(`strace: ${said}`);
    await Promise.race([once(strace.stderr, 'data'), ended]);
  }
  return {
    end: async () => {
      strace.kill('SIGINT');
      await ended;
    },
  };
}
