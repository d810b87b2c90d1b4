/** A web server for one directory on the loopback interface: a mirror as its users see it. */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, posix } from 'node:path';

export interface FileServer extends AsyncDisposable {
  /** With a slash at its end. */
  readonly url: string;
}

/** `skewSeconds`: so far ahead is its clock; `port` 0 takes a free one. */
export async function serveFiles(root: string, { port = 0, skewSeconds = 0 } = {}): Promise<FileServer> {
  const server = createServer((request, response) => {
    const file = createReadStream(join(root, posix.normalize(decodeURIComponent(request.url ?? '/'))));
    if (skewSeconds !== 0) response.setHeader('date', new Date(Date.now() + skewSeconds * 1000).toUTCString());
    file.on('error', () => response.writeHead(404).end());
    file.on('open', () => file.pipe(response));
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server.close(), 'close');
      server.closeAllConnections();
      await closed;
    },
  };
}
