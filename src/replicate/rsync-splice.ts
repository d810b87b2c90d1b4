/** One run of the local rsync whose remote end is an exec channel of the warm SSH connection: no ssh program, no handshake. */
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { abortable } from '../system/abortable.ts';
import { childEnvironment, type ExecResult, exec } from '../system/exec.ts';
import type { SshCommand, SshConnection } from '../system/ssh.ts';

export interface SplicedRun {
  readonly connection: SshConnection;
  /**
   * Remote commands of earlier runs by the arguments that led to them: with the same arguments rsync asks for the same
   * command, so the mirror can start it while our rsync starts. Kept by the caller, filled here.
   */
  readonly known: Map<string, string>;
  /** Arguments of rsync but for `-e`; the host in them is of no account. Local paths are relative to `cwd`. */
  readonly args: readonly string[];
  readonly cwd: string;
  readonly input: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Told of bytes that go to the mirror (but for a mere keep-alive), and of those that come from it. */
  readonly onAlive: () => void;
  readonly onStdout?: (chunk: Buffer) => void;
}

/** A command at the mirror that waits for the rsync of ours that will want it. */
interface EarlyRemote {
  readonly command: string;
  readonly opening: Promise<SshCommand>;
}

export interface SplicedResult extends ExecResult {
  /** What the command at the mirror said on stderr: its last 16 KiB. */
  readonly remoteStderr: string;
  /** Its exit code, null when there is none. */
  readonly remoteCode: number | null;
  /** Why the connection or the channel could not be had. */
  readonly failure: Error | undefined;
}

/**
 * What rsync starts as its remote shell (it splits `-e` at spaces and knows quotes): says the remote command on descriptor 3,
 * a socket to us, and leaves behind two copiers, one each way. It is gone at once, because rsync, at its end, looks for the
 * end of its shell in steps of 20 ms; it is we who wait for the remote. When rsync ends, in whatever way, the first copier
 * comes to the end of the pipe and ends the second: then nobody holds the socket, and we see its end.
 */
const helper = `sh -c 'shift; printf "%s\\0" "$*" >&3; exec 4<&0; cat <&3 4<&- & (cat; kill $!) <&4 >&3 2>/dev/null &' lockstepd`;

const remoteStderrLimit = 16 * 1024;
/**
 * An rsync that hears nothing says a few bytes in each half of its `--timeout`, and takes its own words for a sign of life. Into a
 * dead link they go for as long as the window of the channel has room.
 */
const keepAliveBytes = 16;
/** rsync's own arguments and a path are far shorter. */
const commandLimit = 64 * 1024;

/** Runs rsync to its end; rejects only with the signal's reason or when rsync cannot be started. */
export async function runSpliced(run: SplicedRun): Promise<SplicedResult> {
  const { args, cwd, input, timeoutMs, signal, onStdout } = run;
  const splice = new Splice(run);
  try {
    const result = await exec(['rsync', '-e', helper, ...args], {
      cwd,
      // Times in listings are local times.
      env: childEnvironment({ TZ: 'UTC' }),
      input,
      timeoutMs,
      killAfterMs: 1000,
      signal,
      onChannel: (channel) => splice.start(channel),
      ...(onStdout ? { onStdout } : {}),
    });
    // Not before the remote has ended too: rrsync holds its lock until then.
    await splice.remoteEnded();
    return { ...result, ...splice.outcome() };
  } finally {
    splice.end();
  }
}

class Splice {
  readonly #run: SplicedRun;
  readonly #onAbort = (): void => this.end();
  #local: Duplex | undefined;
  /** Started before our rsync has asked for it. */
  #early: EarlyRemote | undefined;
  #remote: SshCommand | undefined;
  #remoteCode: number | null = null;
  #stderr = '';
  #failure: Error | undefined;
  #ended = false;

  constructor(run: SplicedRun) {
    this.#run = run;
    this.#early = startEarly(run);
  }

  start(local: Duplex): void {
    this.#local = local;
    // The copiers are rsync's children, not ours: they end when this socket does.
    this.#run.signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#splice(local).catch((error: unknown) => {
      this.#failure = error as Error;
      this.end();
    });
  }

  async remoteEnded(): Promise<void> {
    if (this.#remote && !this.#failure) await abortable(this.#remote.closed, this.#run.signal);
  }

  outcome(): Pick<SplicedResult, 'remoteStderr' | 'remoteCode' | 'failure'> {
    return { remoteStderr: this.#stderr, remoteCode: this.#remoteCode, failure: this.#failure };
  }

  /** Cuts both ends; what has arrived stays in the outcome. */
  end(): void {
    this.#ended = true;
    this.#run.signal.removeEventListener('abort', this.#onAbort);
    this.#local?.destroy();
    this.#remote?.end();
    this.#dropEarly();
  }

  async #splice(local: Duplex): Promise<void> {
    const { onAlive } = this.#run;
    const said = await readCommand(local);
    if (said === undefined) return;
    const remote = await this.#start(said.command);
    this.#remote = remote;
    if (this.#ended) {
      remote.end();
      return;
    }
    const { stream, stderr } = remote;
    stderr.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-remoteStderrLimit);
    });
    stream.on('data', onAlive);
    local.on('data', (chunk: Buffer) => {
      if (chunk.length > keepAliveBytes) onAlive();
    });
    if (said.rest.length > 0) {
      onAlive();
      stream.write(said.rest);
    }
    local.pipe(stream);
    stream.pipe(local);
    // rsync is gone: the remote must hear of it, and its last words be read, or the channel never closes.
    local.once('close', () => {
      stream.resume();
      stream.end();
    });
    this.#remoteCode = await remote.closed;
    // rsync may be blocked on bytes that nobody takes any more: once it has what the remote said, the socket goes.
    if (!local.writableEnded) local.end();
    await finished(local, { readable: false }).catch(() => {});
    local.destroy();
  }

  #start(command: string): Promise<SshCommand> {
    const { connection, signal, known, args } = this.#run;
    if (this.#early?.command === command) {
      const { opening } = this.#early;
      this.#early = undefined;
      return opening;
    }
    this.#dropEarly();
    known.set(args.join('\0'), command);
    return connection.exec(command, signal);
  }

  /** Ends a remote command that nobody wants any more. */
  #dropEarly(): void {
    this.#early?.opening.then(
      (remote) => remote.end(),
      () => {},
    );
    this.#early = undefined;
  }
}

/** Starts the remote command that the same arguments led to before; undefined when they are new. */
function startEarly({ connection, known, args, signal }: SplicedRun): EarlyRemote | undefined {
  const command = known.get(args.join('\0'));
  if (command === undefined) return undefined;
  const opening = connection.exec(command, signal);
  opening.catch(() => {});
  return { command, opening };
}

/** The remote command and the bytes that came behind it, or undefined when rsync ended without one. */
function readCommand(local: Duplex): Promise<{ command: string; rest: Buffer } | undefined> {
  return new Promise((resolve, reject) => {
    let held = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      held = Buffer.concat([held, chunk]);
      const end = held.indexOf(0);
      if (end < 0 && held.length <= commandLimit) return;
      local.pause();
      local.off('data', onData);
      if (end < 0) reject(new Error('rsync gave no remote command'));
      else resolve({ command: held.toString('utf8', 0, end), rest: held.subarray(end + 1) });
    };
    local.on('data', onData);
    local.once('close', () => resolve(undefined));
  });
}
