/** Our part of the talk with an rsync at the other side once it has begun to ask: files wave by wave, then the ends of the phases. */
import type { Clock } from '../system/clock.ts';
import type { Wake } from '../system/limit.ts';
import type { Delivery } from './rsync-delivery.ts';
import { openToSend, type Source, sendFile } from './rsync-file.ts';
import { Pieces } from './rsync-literals.ts';
import type { RsyncOutput } from './rsync-output.ts';
import { type Request, onceMore } from './rsync-requests.ts';
import { frame, int32, message, NdxWriter, ndxDone } from './rsync-wire.ts';
import { QuickReads } from './source.ts';
import type { Pace, PushFile } from './transport.ts';

export interface WaveRun {
  readonly sourceRoot: string;
  /** Whether each file is held against a sum of it; without that no block of an old one may be used. */
  readonly hashed: boolean;
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

export interface WaveTalk {
  readonly delivery: Delivery;
  readonly output: RsyncOutput;
  /** Set when something was heard. */
  readonly wake: Wake;
  readonly version: number;
  readonly seed: number;
}

/**
 * Returns what is wrong with a file of ours, behind which nothing went out. Throws what the gate rejects with, or what `output`
 * throws.
 */
export async function sendWaves(run: WaveRun, talk: WaveTalk): Promise<Error | null> {
  const sender = new WaveSender(run, talk);
  await sender.send();
  return sender.sourceError;
}

class WaveSender {
  readonly #run: WaveRun;
  readonly #talk: WaveTalk;
  readonly #numbers = new NdxWriter();
  readonly #quick: QuickReads;
  readonly #pieces = new Pieces();
  /** Phases that we have ended. */
  #phase = 0;
  /** Whether an end of a phase was used to learn what has not been taken. */
  #question: 'open' | 'asked' | 'answered' = 'open';
  sourceError: Error | null = null;

  constructor(run: WaveRun, talk: WaveTalk) {
    this.#run = run;
    this.#talk = talk;
    this.#quick = new QuickReads(run.clock);
  }

  async send(): Promise<void> {
    const { gate, lastTwice } = this.#run;
    const { delivery, version } = this.#talk;
    const { lastWave } = delivery;
    for (let wave = 0; wave <= lastWave; wave++) {
      if (wave === lastWave && gate) await this.#passed(gate);
      // The receiver takes files one after the other: this one is behind the renames of all the others.
      const again = wave === lastWave && lastTwice ? () => this.#again() : null;
      await this.#sendUpTo(wave, again);
      // When it passed over something only its exit code tells for certain whether that was an error.
      delivery.finish(wave);
    }
    // Each end is answered by one; since version 31 there is one more goodbye.
    for (const most = version >= 31 ? 4 : 3; this.#phase < most; ) {
      while (delivery.ends() <= this.#phase) await this.#woken();
      await this.#endPhase();
    }
  }

  /**
   * Resolves when all up to this wave lies there, or nothing more may go out. `onAnswered` runs once all that was asked for has gone
   * out.
   */
  async #sendUpTo(wave: number, onAnswered: (() => Promise<void>) | null): Promise<void> {
    const { delivery, output } = this.#talk;
    let andThen = onAnswered;
    for (;;) {
      output.check();
      const refused = delivery.takeNew().flatMap(({ ndx, sums }) => (sums ? frame(message.noSend, int32(ndx)) : []));
      if (refused.length > 0) await output.write(refused);
      const request = delivery.next(wave);
      if (request) await this.#answer(request);
      else if (andThen && delivery.isAnswered()) {
        const then = andThen;
        andThen = null;
        await then();
      } else if (delivery.isThere(wave) || (delivery.isStopped() && delivery.ends() > 0)) break;
      else if (!(await this.#clarified())) await this.#woken();
    }
    if (this.#question === 'asked') this.#question = 'answered';
  }

  /**
   * Since 3.2.3 rsync says on stderr alone what it could not take, and others talk there too. The end of a phase is answered behind
   * the news of all that was sent: what has not arrived then never will. Files may come in two phases, so there is one such question.
   */
  async #clarified(): Promise<boolean> {
    const { delivery } = this.#talk;
    if (delivery.ends() === 0) return false;
    if (this.#question === 'open' && delivery.takeComplaint()) {
      this.#question = 'asked';
      await this.#endPhase();
      return true;
    }
    const isLost =
      this.#question === 'asked' ? delivery.ends() > 1 : this.#question === 'answered' && delivery.takeComplaint();
    if (isLost) delivery.stop();
    return isLost;
  }

  async #again(): Promise<void> {
    const { delivery } = this.#talk;
    const smallest = delivery.smallestOfLast();
    if (smallest !== undefined) await this.#answer(onceMore(smallest, (delivery.list[smallest] as PushFile).size));
  }

  async #answer({ ndx, attributes, sums }: Request): Promise<void> {
    const { hashed, onBytes, pace, signal, sourceRoot } = this.#run;
    const { delivery, output, seed } = this.#talk;
    const file = delivery.list[ndx] as PushFile;
    if (!sums) return output.writeData(this.#numbers.bytes(ndx), attributes);
    if (delivery.isStopped()) return;
    let source: Source;
    try {
      source = await openToSend(sourceRoot, file, this.#quick);
    } catch (error) {
      this.sourceError = error as Error;
      delivery.stop();
      return;
    }
    delivery.begin(ndx);
    await sendFile({
      file,
      source,
      head: Buffer.concat([this.#numbers.bytes(ndx), attributes]),
      sums,
      seed,
      hashed,
      pieces: this.#pieces,
      output,
      pace: async (bytes) => pace?.(bytes, { signal, onWait: () => this.#keepAlive() }),
      onBytes,
    });
  }

  async #endPhase(): Promise<void> {
    this.#phase++;
    await this.#talk.output.writeData(this.#numbers.bytes(ndxDone));
  }

  /** Waits for something to happen, without being taken for dead. */
  async #woken(): Promise<void> {
    const { clock, timeoutMs } = this.#run;
    const { output, wake } = this.#talk;
    await wake.wait((stop) => clock.sleep(timeoutMs / 3, { signal: stop }));
    output.check();
    output.keepAlive();
  }

  /** Waits for `gate`, or for a failure that makes it idle; all that time the run shows signs of life. */
  async #passed(gate: Promise<void>): Promise<void> {
    const { delivery, wake } = this.#talk;
    const watch = new GateWatch(gate, () => wake.wake());
    while (watch.isShut() && !delivery.isStopped()) {
      await this.#woken();
      this.#run.onBytes(0);
    }
  }

  #keepAlive(): void {
    this.#run.onBytes(0);
    this.#talk.output.keepAlive();
  }
}

/** What a gate has come to. */
class GateWatch {
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

  /** Throws what the gate was rejected with. */
  isShut(): boolean {
    if (this.#error) throw this.#error;
    return this.#isShut;
  }
}
