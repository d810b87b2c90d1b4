/** The demo's web server on loopback: shows the mirrors' directories as their web servers would, so that probes see what users see. */
import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoOf } from '../errors.ts';

export interface DemoWeb extends AsyncDisposable {
  readonly port: number;
}

/** Serves each directory of `roots` below `/NAME/`. Only reads; follows no symbolic link but the root itself. */
export async function serveDirectories(roots: ReadonlyMap<string, string>): Promise<DemoWeb> {
  const server = createServer((request, response) => {
    answer(roots, request, response).catch((error: unknown) => {
      const absent = ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '');
      if (response.headersSent) response.destroy();
      else end(response, absent ? 404 : 500, absent ? 'not found\n' : 'cannot be read\n');
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    port: address === null || typeof address === 'string' ? 0 : address.port,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(
  roots: ReadonlyMap<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return end(response, 405, 'only GET and HEAD\n');
  const path = componentsOf(request.url ?? '/');
  if (!path) return end(response, 400, 'not a path\n');
  const [name, ...rest] = path;
  if (name === undefined) return end(response, 200, list([...roots.keys()].map((root) => `${root}/`)));
  const root = roots.get(name);
  if (root === undefined) return end(response, 404, 'not found\n');
  // Only the root may be a link (the primary's `public` is one).
  const flags = constants.O_RDONLY | (rest.length > 0 ? constants.O_NOFOLLOW : 0);
  await using file = await open(join(root, ...rest), flags);
  const facts = await file.stat();
  if (facts.isDirectory()) {
    const entries = await readdir(join(root, ...rest), { withFileTypes: true });
    return end(
      response,
      200,
      list(entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort()),
    );
  }
  const tag = `"${facts.size}-${facts.mtimeMs}-${facts.ino}"`;
  if (request.headers['if-none-match'] === tag) return end(response, 304, '');
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': facts.size,
    etag: tag,
    'last-modified': facts.mtime.toUTCString(),
  });
  if (request.method === 'HEAD') response.end();
  else await pipeline(file.createReadStream({ autoClose: false }), response);
}

/** The components of a URL's path, or undefined when one of them is no plain name. */
function componentsOf(url: string): string[] | undefined {
  try {
    const names = decodeURIComponent(url.split('?')[0] ?? '')
      .split('/')
      .filter((name) => name !== '');
    return names.some((name) => name === '.' || name === '..' || name.includes('\0')) ? undefined : names;
  } catch {
    return undefined;
  }
}

function list(names: readonly string[]): string {
  return `<!doctype html>\n${names.map((name) => `<a href="${encodeURIComponent(name).replace('%2F', '/')}">${name.replace(/[&<>]/g, '')}</a><br>`).join('\n')}\n`;
}

function end(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': body.startsWith('<') ? 'text/html; charset=utf-8' : 'text/plain; charset=utf-8',
  });
  response.end(body);
}
