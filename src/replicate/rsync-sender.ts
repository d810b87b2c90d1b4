/**
 * Brings waves of files to the rsync at the other end of a channel in one run, as no rsync program does: a wave begins only
 * when that rsync has said of each file before it that it lies under its name.
 */
import { abortable } from '../system/abortable.ts';
import { Wake } from '../system/limit.ts';
import type { SshCommand } from '../system/ssh.ts';
import { Delivery } from './rsync-delivery.ts';
import { FrameReader } from './rsync-frames.ts';
import { fileList } from './rsync-list.ts';
import { RsyncOutput } from './rsync-output.ts';
import { RequestReader } from './rsync-requests.ts';
import { sendWaves, type WaveRun } from './rsync-waves.ts';
import {
  frame,
  int32,
  message,
  newestProtocol,
  oldestProtocol,
  protocolError,
  protocolVersion,
  RunEnded,
  streamError,
  varintExtra,
} from './rsync-wire.ts';
import type { Wave } from './transport.ts';

export interface SendRun extends WaveRun {
  readonly remote: SshCommand;
  readonly waves: readonly Wave[];
  /** The rsync there tells of each file that lies under its name. Without that only one wave may go. */
  readonly confirms: boolean;
}

export interface SendResult {
  /**
   * As an rsync of ours would have ended: 0, 23 when the other one could not take something, its code or that of RunEnded, null when
   * nobody knows why.
   */
  readonly code: number | null;
  /** What the other one told us, and what it said on stderr: the last 16 KiB of each. */
  readonly said: string;
  readonly remoteStderr: string;
  readonly remoteCode: number | null;
  /** What it asked for and got. */
  readonly taken: ReadonlySet<string>;
  /** Waves that are over; those behind one of which it passed over something have not begun. */
  readonly wavesDone: number;
}

const textLimit = 16 * 1024;
/** Phases in which files may come; the end of a third one ends the transfer. */
const phases = 2;
/** RERR_PARTIAL of rsync's errcode.h. */
const partial = 23;
/** What has broken off is given so long to say why. */
const lastWordsMs = 2000;
const errors: readonly number[] = [message.errorXfer, message.error, message.errorSocket, message.errorUtf8];

/** Runs until the other side has ended. Throws the signal's reason, what the gate rejects with, TransportError `vanished` for a source. */
export async function sendFiles(run: SendRun): Promise<SendResult> {
  return new Sender(run).run();
}

class Sender {
  readonly #run: SendRun;
  readonly #delivery: Delivery;
  readonly #reader: FrameReader;
  readonly #output: RsyncOutput;
  readonly #wake = new Wake();
  /** The other side has said that it could not take something. */
  #hasFailed = false;
  #hasBegun = false;
  #said = '';
  #stderr = '';

  constructor(run: SendRun) {
    this.#run = run;
    this.#delivery = new Delivery(run.waves, run.confirms);
    const { stream, stderr } = run.remote;
    this.#output = new RsyncOutput(stream, run.clock, run.timeoutMs);
    this.#reader = new FrameReader(stream, {
      alive: () => run.onBytes(0),
      message: (kind, payload) => this.#heard(kind, payload),
    });
    stderr.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-textLimit);
      // Before that it is the talk of a login.
      if (this.#hasBegun) this.#delivery.complain();
      this.#wake.wake();
    });
  }

  async run(): Promise<SendResult> {
    const { remote, signal } = this.#run;
    let ended: RunEnded | null = null;
    try {
      const sourceError = await abortable(this.#work(), signal);
      if (sourceError) {
        remote.stream.end();
        await this.#closed(true);
        throw sourceError;
      }
    } catch (error) {
      if (!(error instanceof RunEnded)) {
        remote.end();
        throw error;
      }
      ended = error;
    }
    remote.stream.end();
    const remoteCode = await this.#closed(ended !== null);
    const code = ended
      ? codeOf(ended, remoteCode)
      : this.#hasFailed || !this.#delivery.isThere(this.#delivery.lastWave)
        ? partial
        : 0;
    const said = ended && code === ended.code ? `${this.#said}${ended.message}\n` : this.#said;
    const [taken, wavesDone] = [this.#delivery.taken(), this.#delivery.wavesDone()];
    return { code, said, remoteStderr: this.#stderr, remoteCode, taken, wavesDone };
  }

  /** The exit code of the other side; what has broken off is not waited for. */
  async #closed(isBroken: boolean): Promise<number | null> {
    const { clock, remote, signal } = this.#run;
    const over = new AbortController();
    const giveUp = async (): Promise<void> => {
      await clock.sleep(lastWordsMs, { signal: over.signal });
      remote.end();
    };
    if (isBroken) giveUp().catch(() => {});
    try {
      return await abortable(remote.closed, signal);
    } finally {
      over.abort();
    }
  }

  /** Returns what is wrong with a file of ours. */
  async #work(): Promise<Error | null> {
    try {
      const { version, seed } = await this.#greet();
      const talk = { delivery: this.#delivery, output: this.#output, wake: this.#wake, version, seed };
      const sending = this.#ending(sendWaves(this.#run, talk));
      const results = await Promise.allSettled([this.#ending(this.#listen(version)), sending]);
      // The first failure is what it failed of: the other one could not go on without.
      if (results.some(({ status }) => status === 'rejected')) this.#output.check();
      return await sending;
    } catch (error) {
      this.#break(error as Error);
      throw error;
    }
  }

  async #greet(): Promise<{ version: number; seed: number }> {
    // All that the other side has to know first, before it has said a word: what it may answer changes none of it.
    const first = [int32(protocolVersion), ...frame(message.data, fileList(this.#delivery.list))];
    // One that has shut its channel by then may have said why.
    const shut = await this.#output.write(first).then(
      () => null,
      (error: unknown) => error as Error,
    );
    const version = (await this.#reader.read(4)).readInt32LE(0);
    // In the words of rsync, which whoever looks for them will find.
    if (version < 1 || version > newestProtocol)
      throw new RunEnded(protocolError, 'says no protocol version -- is your shell clean?');
    if (version < oldestProtocol)
      throw new RunEnded(protocolError, `speaks version ${version} of the protocol, from before rsync 3.0`);
    if (shut !== null) throw shut;
    // Flags of what both can: nothing that matters to a sender.
    const [flags] = (await this.#reader.read(1)) as unknown as [number];
    await this.#reader.read(varintExtra(flags));
    const seed = (await this.#reader.read(4)).readInt32LE(0);
    this.#hasBegun = true;
    this.#reader.startFrames();
    return { version: Math.min(version, protocolVersion), seed };
  }

  /** Takes what is asked for, up to the end of the transfer; never waits for what is sent, so that little is held here. */
  async #listen(version: number): Promise<void> {
    const requests = new RequestReader(this.#delivery.list, (count) => this.#reader.read(count));
    // Behind the phases come the goodbyes: one, since version 31 two.
    const most = phases + 1 + (version >= 31 ? 2 : 1);
    while (this.#delivery.ends() < most) {
      const request = await requests.next();
      if (!request) this.#delivery.end();
      else if (this.#delivery.ends() > phases) throw new RunEnded(protocolError, 'does not end');
      else this.#delivery.ask(request);
      this.#wake.wake();
    }
  }

  async #ending<T>(part: Promise<T>): Promise<T> {
    try {
      return await part;
    } catch (error) {
      this.#break(error as Error);
      throw error;
    }
  }

  #break(error: Error): void {
    this.#output.fail(error);
    this.#reader.fail(error);
    this.#wake.wake();
  }

  #heard(kind: number, payload: Buffer): void {
    if (kind === message.errorExit) this.#break(new RunEnded(streamError, 'gave up'));
    else if (kind === message.success && payload.length === 4) this.#delivery.confirm(payload.readInt32LE(0));
    else if (kind === message.warning || kind === message.ioError || errors.includes(kind)) {
      if (kind !== message.ioError) this.#said = (this.#said + payload.toString('utf8')).slice(-textLimit);
      if (kind === message.warning) this.#delivery.complain();
      else {
        this.#hasFailed = true;
        this.#delivery.stop();
      }
    } else return;
    this.#wake.wake();
  }
}

/** What an end of ours is called when the other side has a code of its own: that tells more than that it ended early. */
function codeOf({ code }: RunEnded, remoteCode: number | null): number | null {
  return code === streamError && remoteCode !== 0 ? remoteCode : code;
}
