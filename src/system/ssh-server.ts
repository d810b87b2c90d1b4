/** A small SFTP server for the demo and the tests: one key, one directory, on loopback. The daemon itself never loads this file. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import ssh2 from 'ssh2';
import { ConfinedFiles } from './ssh-server-files.ts';
import { serveSession } from './ssh-server-session.ts';

export interface SftpServerOptions {
  /** Absolute path of the directory that clients see as `/`. */
  readonly root: string;
  /** The one public key that is let in, as a line of authorized_keys; any user name will do. */
  readonly authorizedKey: string;
  /** Private host key; a fresh one is made without it. */
  readonly hostKeyPem?: string;
  /** 0 takes a free port. */
  readonly port: number;
}

export interface SftpServer extends AsyncDisposable {
  readonly port: number;
  /** `SHA256:…` */
  readonly hostKeyFingerprint: string;
  /** Ends the server and every connection. */
  close(): Promise<void>;
}

/** A fresh ed25519 key pair: the private key as a file's text, the public key as a line of authorized_keys. */
export function createKeyPair(): { privateKey: string; publicKey: string } {
  for (;;) {
    const { private: privateKey, public: publicKey } = ssh2.utils.generateKeyPairSync('ed25519');
    // ssh2 1.17 cuts a leading zero byte off the public key: one pair of 256 is unusable, for itself and for OpenSSH.
    if (!(ssh2.utils.parseKey(privateKey) instanceof Error)) return { privateKey, publicKey };
  }
}

/** Listens on 127.0.0.1. Throws TypeError for an unusable key, rejects when the port cannot be had. */
export async function serveSftp(options: SftpServerOptions): Promise<SftpServer> {
  const hostKeyPem = options.hostKeyPem ?? createKeyPair().privateKey;
  const hostKey = parseKey(hostKeyPem);
  const allowed = parseKey(options.authorizedKey);
  const files = new ConfinedFiles(options.root);
  const clients = new Set<ssh2.Connection>();
  const server = new ssh2.Server({ hostKeys: [hostKeyPem] }, (client) => {
    clients.add(client);
    client.on('close', () => clients.delete(client));
    // A client that breaks off is no event for the server.
    client.on('error', () => {});
    client.on('authentication', (attempt) => {
      if (attempt.method === 'publickey' && isAllowed(attempt, allowed)) attempt.accept();
      else attempt.reject(['publickey']);
    });
    client.on('session', (accept) => {
      accept().on('subsystem', (take, refuse, { name }) => {
        if (name !== 'sftp') {
          refuse();
          return;
        }
        const channel = take();
        channel.on('error', () => {});
        serveSession(channel, files).then(
          () => channel.end(),
          () => channel.destroy(),
        );
      });
    });
  });
  // ssh2 tells of a connection only once the client has said its version: one that has not would outlast the close.
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    server.injectSocket(socket);
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(options.port, '127.0.0.1', resolve);
  });
  const close = async (): Promise<void> => {
    const ended = new Promise((resolve) => listener.close(resolve));
    for (const client of clients) client.end();
    for (const socket of sockets) socket.destroySoon();
    await ended;
  };
  const address = listener.address();
  return {
    port: address === null || typeof address === 'string' ? options.port : address.port,
    hostKeyFingerprint: `SHA256:${createHash('sha256').update(hostKey.getPublicSSH()).digest('base64').replace(/=+$/, '')}`,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function parseKey(key: string): ssh2.ParsedKey {
  const parsed = ssh2.utils.parseKey(key);
  if (parsed instanceof Error) throw new TypeError(`not a usable key: ${parsed.message}`);
  return parsed;
}

function isAllowed(attempt: ssh2.PublicKeyAuthContext, allowed: ssh2.ParsedKey): boolean {
  const expected = allowed.getPublicSSH();
  const { algo, data } = attempt.key;
  if (algo !== allowed.type || data.length !== expected.length || !timingSafeEqual(data, expected)) return false;
  // Without a signature the client only asks whether this key would do.
  if (!attempt.signature || !attempt.blob) return true;
  // Contrary to its type it can also give an Error, which must not count as true.
  const verified: unknown = allowed.verify(attempt.blob, attempt.signature, attempt.hashAlgo);
  return verified === true;
}
