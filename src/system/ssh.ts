/** The one warm SSH connection to a mirror: connects when needed, checks the host key against its pins, is shared by all who use that mirror. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import ssh2, { type CipherAlgorithm, type ClientChannel } from 'ssh2';
import { errnoOf, messageOf, TransportError } from '../errors.ts';
import { abortable } from './abortable.ts';
import { systemClock } from './clock.ts';
import { Outlet } from './outlet.ts';
import { easeCiphers } from './ssh-cipher.ts';
import { SftpSession } from './ssh-sftp.ts';
import { SpareSessions } from './ssh-spare.ts';

export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Absolute path of a private key file without a passphrase; read anew at each connect. */
  readonly identity: string;
  /** `SHA256:…` fingerprints of host keys, as `ssh-keygen -l` prints them. At least one. */
  readonly hostKeys: readonly string[];
}

export interface SshOptions {
  /** Deadline in milliseconds for everything up to the end of the authentication, default 15 s. */
  readonly connectTimeoutMs?: number;
}

/** A command that runs at the other side. */
export interface SshCommand {
  /** Its stdin and stdout. */
  readonly stream: Duplex;
  readonly stderr: Readable;
  /** Its exit code, null when it was killed or the connection was lost; resolves once the channel is closed. */
  readonly closed: Promise<number | null>;
  /** Closes the channel at once. */
  end(): void;
}

interface Link {
  readonly client: ssh2.Client;
  readonly socket: Socket;
  readonly outlet: Outlet;
  /** Why the connection ended; set by the first event that tells. */
  failure: Error | undefined;
  sftp: Promise<SftpSession> | undefined;
  readonly spare: SpareSessions;
}

/** The longest that an orderly end may take: nobody stops for a peer that hangs. */
const farewellMs = 2000;

/** AES-128-GCM is several times faster than the rest; the CTR ciphers are for old servers. */
const ciphers: readonly CipherAlgorithm[] = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
  'chacha20-poly1305@openssh.com',
];

/**
 * Methods reject with a TransportError where this file knows what to say (host key, key file), else with the error of ssh2 or
 * of the socket (see `replicate/faults.ts`), or with the signal's reason.
 */
export class SshConnection {
  readonly #target: SshTarget;
  readonly #pins: readonly Buffer[];
  readonly #connectTimeoutMs: number;
  #link: Promise<Link> | undefined;
  /** The connection that stands, for an orderly end. */
  #standing: Link | undefined;
  /** Cuts the present connection or the present try. */
  #cut: ((reason: Error) => void) | undefined;

  /** Throws TypeError when there is no pin or one that is not a SHA-256 fingerprint. */
  constructor(target: SshTarget, options: SshOptions = {}) {
    this.#target = target;
    this.#pins = target.hostKeys.map(parseFingerprint);
    if (this.#pins.length === 0) throw new TypeError(`${target.host}: no host key is pinned`);
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 15_000;
  }

  /** Connects and authenticates, and asks for nothing: no program runs at the other side. */
  async connect(signal: AbortSignal): Promise<void> {
    await this.#ready(signal);
  }

  /** Runs `command` (one string: it is the other side's shell, or the forced command, that reads it). */
  async exec(command: string, signal: AbortSignal): Promise<SshCommand> {
    const link = await this.#ready(signal);
    return openChannel(link, signal, (done) => link.client.exec(command, done), commandOf);
  }

  /** The SFTP session of this connection, opened by the first call and kept. */
  async sftp(signal: AbortSignal): Promise<SftpSession> {
    const link = await this.#ready(signal);
    const known = link.sftp && (await abortable(link.sftp, signal));
    if (known && !known.ended) return known;
    // Opened for all callers: the one who happens to ask first may leave without taking it along.
    const opening = openSftp(link);
    link.sftp = opening;
    opening.catch(() => {
      if (link.sftp === opening) link.sftp = undefined;
    });
    return abortable(opening, signal);
  }

  /** At most `count` sessions beside that of `sftp`, those that stand now; what is missing is opened for a later call. */
  spareSftp(count: number): readonly SftpSession[] {
    return this.#standing?.spare.take(count) ?? [];
  }

  /** Drops the connection without a word, for a peer that no longer answers; whatever runs on it fails with `reason`. */
  reset(reason: Error): void {
    this.#cut?.(reason);
  }

  /** Ends the connection, within seconds whatever the peer does; a later call connects anew. */
  async close(): Promise<void> {
    const link = this.#standing;
    if (!link) {
      this.#cut?.(new Error('Connection closed by us'));
      return;
    }
    const gone = new Promise((resolve) => link.socket.once('close', resolve));
    link.failure ??= new Error('Connection closed by us');
    this.#link = undefined;
    this.#standing = undefined;
    link.client.end();
    link.socket.destroySoon();
    if (link.socket.destroyed) return;
    // What was written before comes first, and a peer that reads no more never takes it.
    const waited = new AbortController();
    systemClock.sleep(farewellMs, { signal: waited.signal }).then(
      () => link.socket.destroy(),
      () => {},
    );
    await gone;
    waited.abort();
  }

  async #ready(signal: AbortSignal): Promise<Link> {
    signal.throwIfAborted();
    this.#link ??= this.#connect();
    return abortable(this.#link, signal);
  }

  #connect(): Promise<Link> {
    const forget = (): void => {
      if (this.#link !== connecting) return;
      this.#link = undefined;
      this.#standing = undefined;
      this.#cut = undefined;
    };
    const connecting = this.#open(forget);
    connecting.catch(forget);
    return connecting;
  }

  async #open(onEnd: () => void): Promise<Link> {
    const { host, port, user, identity } = this.#target;
    // Whoever closes while the key is still being read must not leave a connection behind.
    let unwanted: Error | undefined;
    this.#cut = (reason) => {
      unwanted = reason;
      onEnd();
    };
    const privateKey = await readIdentity(identity);
    if (unwanted) throw unwanted;
    const socket = connectTcp({ host, port, noDelay: true });
    const client = new ssh2.Client();
    const spare = new SpareSessions(() => openSftp(link));
    const link: Link = { client, socket, outlet: new Outlet(socket), failure: undefined, sftp: undefined, spare };
    const fail = (reason: Error): void => {
      // One broken connection can emit several errors; only the first tells why.
      link.failure ??= reason;
      // Forgotten now and not when the socket has closed: the next call must not get this connection.
      onEnd();
      socket.destroy();
    };
    this.#cut = fail;
    return new Promise((resolve, reject) => {
      client.on('error', fail);
      client.on('ready', () => {
        if (link.failure) return;
        easeCiphers(client, link.outlet);
        this.#standing = link;
        resolve(link);
      });
      client.on('close', () => {
        link.failure ??= new Error('Connection closed by the other side');
        onEnd();
        reject(link.failure);
      });
      client.connect({
        sock: socket,
        username: user,
        privateKey,
        readyTimeout: this.#connectTimeoutMs,
        keepaliveInterval: 15_000,
        keepaliveCountMax: 3,
        algorithms: { cipher: [...ciphers] },
        hostVerifier: (key: Buffer) => {
          const shown = createHash('sha256').update(key).digest();
          const known = this.#pins.filter((pin) => timingSafeEqual(pin, shown)).length > 0;
          if (!known) link.failure ??= hostKeyError(host, key, shown);
          return known;
        },
      });
    });
  }
}

/** The 32 bytes of a `SHA256:…` fingerprint. Throws TypeError for anything else. */
function parseFingerprint(fingerprint: string): Buffer {
  const match = /^SHA256:([A-Za-z0-9+/]{43})=?$/.exec(fingerprint);
  if (!match) throw new TypeError(`host key ${JSON.stringify(fingerprint)}: expected SHA256: and 43 characters`);
  return Buffer.from(match[1] ?? '', 'base64');
}

async function readIdentity(path: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const why = errnoOf(error) ?? messageOf(error);
    throw new TransportError('local', 'permanent', `private key ${path}: ${why}: make it readable for the daemon`, {
      cause: error,
    });
  }
  const key = ssh2.utils.parseKey(bytes);
  if (key instanceof Error) {
    const what = /passphrase|encrypted/i.test(key.message) ? 'has a passphrase' : 'is not a private key';
    throw new TransportError('local', 'permanent', `private key ${path}: ${what}: give a key without one`, {
      cause: key,
    });
  }
  return bytes;
}

function hostKeyError(host: string, key: Buffer, shown: Buffer): TransportError {
  const type = key.subarray(4, 4 + Math.min(key.readUInt32BE(0), 40)).toString('latin1');
  const fingerprint = `SHA256:${shown.toString('base64').replace(/=+$/, '')}`;
  return new TransportError(
    'host_key',
    'security',
    `${host}: the host key is not the pinned one: it showed ${type.replace(/[^\w@.-]/g, '?')} ${fingerprint}: ask its admin, and pin that key only if it is theirs`,
  );
}

/** `use` is called at once: the exit code of a short command may be in the same packet as the answer. */
function openChannel<T>(
  link: Link,
  signal: AbortSignal,
  ask: (done: (error: Error | undefined, channel: ClientChannel) => void) => void,
  use: (channel: ClientChannel) => T,
): Promise<T> {
  const opening = new Promise<T>((resolve, reject) => {
    try {
      ask((error, channel) => {
        // ssh2 says only "No response from server" when the connection goes; the connection knows why.
        if (error) reject(link.failure ?? error);
        else if (signal.aborted) channel.destroy();
        else resolve(use(channel));
      });
    } catch (error) {
      reject(link.failure ?? (error as Error));
    }
  });
  return abortable(opening, signal);
}

function commandOf(channel: ClientChannel): SshCommand {
  let code: number | null = null;
  channel.on('exit', (status: number | null) => (code = status));
  channel.on('error', () => {});
  channel.stderr.on('error', () => {});
  return {
    stream: channel,
    stderr: channel.stderr,
    closed: new Promise((resolve) => channel.once('close', () => resolve(code))),
    end: () => channel.close(),
  };
}

async function openSftp(link: Link): Promise<SftpSession> {
  const never = new AbortController().signal;
  const channel = await openChannel(
    link,
    never,
    (done) => link.client.subsys('sftp', done),
    (opened) => opened,
  );
  channel.stderr.resume();
  return SftpSession.open(channel, {
    together: (write) => link.outlet.together(write),
    reasonOfLoss: () => link.failure ?? new Error('SFTP session closed by the other side'),
  });
}
