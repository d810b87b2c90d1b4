/**
 * Brings waves of files to the rsync at the other end of a channel in one run, as no rsync program does: a wave begins only
 * when that rsync has said of each file before it that it lies under its name.
 */
import { abortable } from '../system/abortable.ts';
import type { Clock } from '../system/clock.ts';
import { Wake } from '../system/limit.ts';
import type { SshCommand } from '../system/ssh.ts';
import { Delivery } from './rsync-delivery.ts';
import { openToSend, type Source, sendFile } from './rsync-file.ts';
import { FrameReader } from './rsync-frames.ts';
import { fileList } from './rsync-list.ts';
import { RsyncOutput } from './rsync-output.ts';
import { type Request, RequestReader, unasked } from './rsync-requests.ts';
import {
  frame,
  int32,
  message,
  NdxWriter,
  ndxDone,
  newestProtocol,
  oldestProtocol,
  protocolError,
  protocolVersion,
  RunEnded,
  streamError,
  varintExtra,
} from './rsync-wire.ts';
import { QuickReads } from './source.ts';
import type { Pace, PushFile, Wave } from './transport.ts';

export interface SendRun {
  readonly remote: SshCommand;
  readonly sourceRoot: string;
  readonly waves: readonly Wave[];
  /** The last wave waits for it; when it rejects, the run does. */
  readonly gate?: Promise<void> | undefined;
  /** The smallest file of the last wave goes once more when all the others lie there: its sync is after their renames. */
  readonly lastTwice: boolean;
  readonly pace?: Pace | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told of bytes of files that go out, and with 0 of other signs of life. */
  readonly onBytes: (bytes: number) => void;
  /** The rsync there gives up when it hears nothing for so long. */
  readonly timeoutMs: number;
}

export interface SendResult {
  /** As an rsync of ours would have ended: 0, 23 when the other one could not take something, its code or one of RunEnded, null when nobody knows why. */
  readonly code: number | null;
  /** What the other one told us, and what it said on stderr: the last 16 KiB of each. */
  readonly said: string;
  readonly remoteStderr: string;
  readonly remoteCode: number | null;
  /** What it asked for and got. */
  readonly taken: ReadonlySet<string>;
}

const textLimit = 16 * 1024;
/** Two ends of phases are answered as they come, a third one ends the transfer. */
const phases = 2;
/** RERR_PARTIAL of rsync's errcode.h. */
const partial = 23;
/** What has broken off is given so long to say why. */
const lastWordsMs = 2000;
const errors: readonly number[] = [message.errorXfer, message.error, message.errorSocket, message.errorUtf8];
const kinds = new Set<number>(Object.values(message));

/** Runs until the other side has ended. Throws the signal's reason, what the gate rejects with, TransportError `vanished` for a source. */
export async function sendFiles(run: SendRun): Promise<SendResult> {
  return new Sender(run).run();
}

class Sender {
  readonly #run: SendRun;
  readonly #delivery: Delivery;
  readonly #reader: FrameReader;
  readonly #output: RsyncOutput;
  readonly #writer = new NdxWriter();
  readonly #quick: QuickReads;
  readonly #wake = new Wake();
  /** Ends of phases that the other side has said. */
  #ends = 0;
  /** What is wrong with a file of ours. */
  #sourceError: Error | null = null;
  #said = '';
  #stderr = '';
  #seed = 0;

  constructor(run: SendRun) {
    this.#run = run;
    this.#delivery = new Delivery(run.waves);
    this.#quick = new QuickReads(run.clock);
    const { stream, stderr } = run.remote;
    this.#output = new RsyncOutput(stream, run.clock, run.timeoutMs);
    this.#reader = new FrameReader(stream, {
      alive: () => run.onBytes(0),
      message: (kind, payload) => this.#heard(kind, payload),
    });
    stderr.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-textLimit);
    });
  }

  async run(): Promise<SendResult> {
    const { remote, signal } = this.#run;
    let ended: RunEnded | null = null;
    try {
      await abortable(this.#work(), signal);
    } catch (error) {
      if (!(error instanceof RunEnded)) {
        remote.end();
        throw error;
      }
      ended = error;
    }
    remote.stream.end();
    const remoteCode = await this.#closed(ended !== null);
    this.#throwSourceError();
    const code = ended ? codeOf(ended, remoteCode) : this.#delivery.hasFailed() ? partial : 0;
    const said = ended && code === ended.code ? `${this.#said}${ended.message}\n` : this.#said;
    return { code, said, remoteStderr: this.#stderr, remoteCode, taken: this.#delivery.taken() };
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

  async #work(): Promise<void> {
    try {
      const version = await this.#greet();
      await this.#both(this.#listen(version), this.#send(version));
    } catch (error) {
      this.#break(error as Error);
      throw error;
    }
  }

  async #greet(): Promise<number> {
    // All that the other side has to know first, before it has said a word: what it may answer changes none of it.
    await this.#output.write([int32(protocolVersion), ...frame(message.data, fileList(this.#delivery.list))]);
    const version = (await this.#reader.read(4)).readInt32LE(0);
    // In the words of rsync, which whoever looks for them will find.
    if (version < 1 || version > newestProtocol)
      throw new RunEnded(protocolError, 'says no protocol version -- is your shell clean?');
    if (version < oldestProtocol)
      throw new RunEnded(protocolError, `speaks version ${version} of the protocol, from before rsync 3.0`);
    // Flags of what both can: nothing that matters to a sender.
    const [first] = (await this.#reader.read(1)) as unknown as [number];
    await this.#reader.read(varintExtra(first));
    this.#seed = (await this.#reader.read(4)).readInt32LE(0);
    this.#reader.startFrames();
    return Math.min(version, protocolVersion);
  }

  /** Neither goes on without the other. */
  async #both(...both: readonly Promise<void>[]): Promise<void> {
    const watched = both.map(async (one) => {
      try {
        await one;
      } catch (error) {
        this.#break(error as Error);
        throw error;
      }
    });
    const results = await Promise.allSettled(watched);
    if (results.some(({ status }) => status === 'rejected')) this.#output.check();
  }

  #break(error: Error): void {
    this.#output.fail(error);
    this.#reader.fail(error);
    this.#wake.wake();
  }

  /** Takes what is asked for, up to the end of the transfer; never waits for what is sent, so that little is held here. */
  async #listen(version: number): Promise<void> {
    const requests = new RequestReader(this.#delivery.list, (count) => this.#reader.read(count));
    for (const most = phases + 1 + (version >= 31 ? 2 : 1); this.#ends < most; this.#wake.wake()) {
      const request = await requests.next();
      if (request && this.#ends > phases) throw new RunEnded(protocolError, 'does not end');
      if (request) this.#delivery.ask(request);
      else this.#ends++;
      if (this.#ends > 0) this.#delivery.endAsking();
    }
  }

  /** Everything that is asked for, wave by wave; then the ends of the phases. */
  async #send(version: number): Promise<void> {
    const { gate, lastTwice, waves } = this.#run;
    const last = waves.length - 1;
    for (let wave = 0; wave <= last; wave++) {
      if (wave === last && gate) await this.#passed(gate);
      await this.#sendUpTo(wave);
    }
    const again = this.#delivery.smallestOfLast();
    if (lastTwice && again !== undefined && !this.#delivery.hasFailed()) {
      await this.#answer(unasked(again));
      await this.#sendUpTo(last);
    }
    for (let phase = 1; phase <= phases + 1; phase++) {
      while (this.#ends < phase) await this.#woken();
      await this.#sendUpTo(last);
      await this.#output.writeData(this.#writer.bytes(ndxDone));
    }
    if (version < 31) return;
    while (this.#ends <= phases + 1) await this.#woken();
    await this.#output.writeData(this.#writer.bytes(ndxDone));
  }

  /** Resolves when all up to this wave lies there, or nothing more may go out. */
  async #sendUpTo(wave: number): Promise<void> {
    for (;;) {
      this.#output.check();
      for (const { ndx, sums } of this.#delivery.takeNew()) {
        if (sums) await this.#output.write(frame(message.noSend, int32(ndx)));
      }
      const request = this.#delivery.next(wave);
      if (request) await this.#answer(request);
      else if (this.#delivery.isThere(wave) || (this.#delivery.hasFailed() && this.#ends > 0)) return;
      else await this.#woken();
    }
  }

  async #answer({ ndx, attributes, sums }: Request): Promise<void> {
    const { onBytes, pace, signal, sourceRoot } = this.#run;
    const file = this.#delivery.list[ndx] as PushFile;
    if (!sums) return this.#output.writeData(this.#writer.bytes(ndx), attributes);
    if (this.#delivery.hasFailed()) return;
    let source: Source;
    try {
      source = await openToSend(sourceRoot, file, this.#quick);
    } catch (error) {
      this.#sourceError = error as Error;
      this.#delivery.fail();
      return;
    }
    this.#delivery.begin(ndx);
    await sendFile({
      file,
      source,
      head: Buffer.concat([this.#writer.bytes(ndx), attributes]),
      sums,
      seed: this.#seed,
      output: this.#output,
      pace: async (bytes) => pace?.(bytes, { signal, onWait: () => this.#keepAlive() }),
      onBytes,
    });
  }

  #heard(kind: number, payload: Buffer): void {
    const { length } = payload;
    if (!kinds.has(kind)) this.#break(new RunEnded(streamError, `sends what is no message (${kind})`));
    else if (kind === message.success && length === 4) this.#delivery.confirm(payload.readInt32LE(0));
    else if (kind === message.errorExit) this.#break(new RunEnded(streamError, 'gave up'));
    else if (kind === message.ioError) this.#delivery.fail();
    else if (kind === message.warning || errors.includes(kind)) {
      this.#said = (this.#said + payload.toString('utf8')).slice(-textLimit);
      if (kind !== message.warning) this.#delivery.fail();
    } else return;
    this.#wake.wake();
  }

  #throwSourceError(): void {
    if (this.#sourceError) throw this.#sourceError;
  }

  /** Waits for something to happen, without being taken for dead. */
  async #woken(): Promise<void> {
    const { clock, timeoutMs } = this.#run;
    await this.#wake.wait((stop) => clock.sleep(timeoutMs / 3, { signal: stop }));
    this.#output.check();
    this.#output.keepAlive();
  }

  /** Waits for `gate`, or for a failure that makes it idle; all that time the run shows signs of life. */
  async #passed(gate: Promise<void>): Promise<void> {
    const shut = new Shut(gate, () => this.#wake.wake());
    while (shut.check() && !this.#delivery.hasFailed()) {
      await this.#woken();
      this.#run.onBytes(0);
    }
  }

  #keepAlive(): void {
    this.#run.onBytes(0);
    this.#output.keepAlive();
  }
}

/** What a gate has come to. */
class Shut {
  #isShut = true;
  #error: Error | null = null;

  constructor(gate: Promise<void>, onChange: () => void) {
    const follow = async (): Promise<void> => {
      try {
        await gate;
        this.#isShut = false;
      } catch (error) {
        this.#error = error as Error;
      }
      onChange();
    };
    follow().catch(() => {});
  }

  /** True while it is shut. Throws what it was rejected with. */
  check(): boolean {
    if (this.#error) throw this.#error;
    return this.#isShut;
  }
}

/** What an end of ours is called when the other side has a code of its own: that tells more than that it ended early. */
function codeOf({ code }: RunEnded, remoteCode: number | null): number | null {
  return code === streamError && remoteCode !== 0 ? remoteCode : code;
}
