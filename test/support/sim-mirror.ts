/** A mirror on a simulated disk that loses its power, or its pushing process, at a chosen change; transports reach it as they would reach a real one. */
import { duplexPair } from 'node:stream';
import { TransportError } from '../../src/errors.ts';
import { createDirectoryTransport } from '../../src/replicate/directory.ts';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import type { SftpConnection } from '../../src/replicate/sftp-call.ts';
import type { Transport } from '../../src/replicate/transport.ts';
import type { Clock } from '../../src/system/clock.ts';
import type { Files, OpenFile } from '../../src/system/files.ts';
import { ConfinedFiles } from '../../src/system/ssh-server-files.ts';
import { serveSession } from '../../src/system/ssh-server-session.ts';
import { SftpSession } from '../../src/system/ssh-sftp.ts';
import { SimFiles } from './sim-files.ts';
import { Image, type Random } from './sim-image.ts';

/** `power`: the mirror forgets what was not synced. `kill`: our process ends, the mirror's disk goes on. */
export type Fate = 'power' | 'kill';

/** One process that pushes: nothing that it does after its end reaches the disk. */
export interface Process {
  dead: boolean;
}

export const mirrorRoot = '/mirror';
const spareSessions = 2;

export class SimMirror {
  /** Called after each change of the disk. */
  onChange: () => void = () => {};
  /** Called when the power fails or the process is killed. */
  onCut: (fate: Fate) => void = () => {};
  /** What ends with either. */
  #sessions: (() => void)[] = [];
  readonly #random: Random;
  readonly #ordered: boolean;
  readonly #wrap: (files: SimFiles) => Files;
  #disk: SimFiles;
  #files: Files;
  #off = false;
  #cut: { left: number; readonly fate: Fate } | null = null;

  private constructor(random: Random, ordered: boolean, wrap: (files: SimFiles) => Files) {
    this.#random = random;
    this.#ordered = ordered;
    this.#wrap = wrap;
    this.#disk = new SimFiles(new Image(), { ordered });
    this.#files = wrap(this.#disk);
  }

  static async create(
    random: Random,
    {
      ordered = false,
      wrap,
    }: { readonly ordered?: boolean; readonly wrap?: ((files: SimFiles) => Files) | undefined } = {},
  ): Promise<SimMirror> {
    const mirror = new SimMirror(random, ordered, wrap ?? ((files) => files));
    await mirror.#disk.mkdir(mirrorRoot);
    await (await mirror.#disk.open('/', 0)).sync();
    mirror.#watch();
    return mirror;
  }

  get isOff(): boolean {
    return this.#off;
  }

  /** What its readers see. */
  get image(): Image {
    return this.#disk.image;
  }

  crash(): Image {
    return this.#disk.crash(this.#random);
  }

  /** The power fails or the process ends at the change after `changes` others. */
  planCut(changes: number, fate: Fate): void {
    this.#cut = { left: changes, fate };
  }

  onSessionsLost(end: () => void): void {
    this.#sessions.push(end);
  }

  /** Forgets a cut that did not come. */
  dropCut(): void {
    this.#cut = null;
  }

  /** Starts again on what a power cut left. */
  powerOn(): void {
    if (!this.#off) return;
    this.#disk = new SimFiles(this.crash(), { ordered: this.#ordered });
    this.#files = this.#wrap(this.#disk);
    this.#watch();
    this.#off = false;
  }

  /** The disk as one process sees it: nothing works without power, or after the end of the process. */
  filesFor(process: Process): Files {
    const check = (disk?: SimFiles): void => {
      // A cause that no retry waits for.
      if (process.dead || this.#off || (disk ?? this.#disk) !== this.#disk) throw failure();
    };
    const guarded = <T extends object>(target: () => T, disk?: SimFiles): T =>
      new Proxy({} as T, {
        get: (_none, name) => {
          const value = Reflect.get(target(), name) as unknown;
          if (typeof value !== 'function') return value;
          return async (...given: unknown[]): Promise<unknown> => {
            // The system closes what a process leaves open.
            if (name !== 'close') check(disk);
            const on = this.#disk;
            const result: unknown = await Reflect.apply(value, target(), given);
            if (name !== 'close') check(on);
            return name === 'open' ? guarded(() => result as OpenFile, on) : result;
          };
        },
      });
    return guarded(() => this.#files);
  }

  #watch(): void {
    this.#disk.onChange = () => {
      this.onChange();
      if (this.#cut === null || this.#cut.left-- > 0) return;
      const { fate } = this.#cut;
      this.#cut = null;
      this.#off = fate === 'power';
      for (const end of this.#sessions) end();
      this.onCut(fate);
    };
  }
}

function failure(): Error {
  return Object.assign(new Error('EROFS: no power'), { code: 'EROFS' });
}

export function directoryTo(mirror: SimMirror, process: Process, clock: Clock): Transport {
  return createDirectoryTransport({ path: mirrorRoot, clock, files: mirror.filesFor(process) });
}

/** To be called once for each process that pushes. */
export function sftpTo(mirror: SimMirror, _process: Process, clock: Clock): Transport {
  return new SimSftp(mirror).transport(clock);
}

/** The real client and the embedded server, joined by pipes that break when either end goes: one for each session. */
class SimSftp implements SftpConnection {
  readonly #mirror: SimMirror;
  readonly #files: ConfinedFiles;
  #session: SftpSession | null = null;
  #spare: SftpSession[] = [];

  constructor(mirror: SimMirror) {
    this.#mirror = mirror;
    // The server outlives the client: what reached it is carried out.
    this.#files = new ConfinedFiles(mirrorRoot, mirror.filesFor({ dead: false }));
    mirror.onSessionsLost(() => this.#end());
  }

  transport(clock: Clock): Transport {
    const target = { host: 'sim', port: 22, user: 'u', identity: '', hostKeys: [] };
    return createSftpTransport({ target, path: '/', clock }, this);
  }

  async sftp(): Promise<SftpSession> {
    if (this.#mirror.isOff) throw lineCut();
    if (this.#session && !this.#session.ended) return this.#session;
    this.#spare = await Promise.all(Array.from({ length: spareSessions }, () => this.#open()));
    this.#session = await this.#open();
    return this.#session;
  }

  spareSftp(count: number): readonly SftpSession[] {
    return this.#spare.filter((one) => !one.ended).slice(0, count);
  }

  reset(): void {
    this.#end();
  }

  async close(): Promise<void> {
    this.#end();
  }

  #end(): void {
    for (const one of [this.#session, ...this.#spare]) one?.end();
  }

  #open(): Promise<SftpSession> {
    const [near, far] = duplexPair();
    near.on('error', () => {});
    far.on('error', () => {});
    serveSession(far, this.#files).catch(() => {});
    return SftpSession.open(near, { together: (write) => write(), reasonOfLoss: lineCut });
  }
}

/** Of a kind that no retry waits for. */
function lineCut(): TransportError {
  return new TransportError('closed', 'permanent', 'the line is cut');
}
