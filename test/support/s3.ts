/** As much of an S3 server as rclone needs to list, put and delete objects: one bucket, whose objects are the files of a directory. It checks no signature. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export interface S3Server extends AsyncDisposable {
  readonly port: number;
}

export async function serveS3(bucket: string, directory: string): Promise<S3Server> {
  const server: Server = createServer((request, response) => {
    answer(request, response, { bucket, directory }).catch(() => {
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((done) => {
        server.close(done);
      });
    },
  };
}

interface World {
  readonly bucket: string;
  readonly directory: string;
}

async function answer(request: IncomingMessage, response: ServerResponse, world: World): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://s3');
  const [, bucket = '', key = ''] = /^\/([^/]*)\/?(.*)$/s.exec(decodeURIComponent(url.pathname)) ?? [];
  if (bucket !== world.bucket) {
    response.writeHead(404, { 'content-type': 'application/xml' });
    response.end('<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>');
    return;
  }
  const path = join(world.directory, key);
  switch (request.method ?? '') {
    case 'GET':
      response.writeHead(200, { 'content-type': 'application/xml' });
      response.end(await listing(world.directory, url.searchParams));
      return;
    case 'HEAD':
      await head(response, path);
      return;
    case 'PUT':
      await put(request, response, path, join(dirname(path), `.s3-${randomUUID()}`));
      return;
    case 'DELETE':
      await rm(path, { force: true });
      response.writeHead(204).end();
      return;
    default:
      response.writeHead(405).end();
  }
}

/** One level below `prefix`, a prefix of whole components. */
async function listing(directory: string, asked: URLSearchParams): Promise<string> {
  const prefix = asked.get('prefix') ?? '';
  const encode = asked.get('encoding-type') === 'url' ? encodeURIComponent : escapeXml;
  const lines: string[] = [];
  const at = join(directory, prefix);
  const entries = await readdir(at, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const name = encode(`${prefix}${entry.name}`);
    if (entry.isDirectory()) lines.push(`<CommonPrefixes><Prefix>${name}/</Prefix></CommonPrefixes>`);
    if (!entry.isFile()) continue;
    const { size, mtime } = await stat(join(at, entry.name));
    lines.push(
      `<Contents><Key>${name}</Key><LastModified>${mtime.toISOString()}</LastModified><ETag>"x-1"</ETag><Size>${size}</Size></Contents>`,
    );
  }
  return `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><IsTruncated>false</IsTruncated>${lines.join('')}</ListBucketResult>`;
}

function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.codePointAt(0) ?? 0};`);
}

async function head(response: ServerResponse, path: string): Promise<void> {
  const facts = await stat(path).catch(() => null);
  if (!facts?.isFile()) {
    response.writeHead(404).end();
    return;
  }
  const hash = createHash('md5');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  response.writeHead(200, {
    'content-length': facts.size,
    etag: `"${hash.digest('hex')}"`,
    'last-modified': facts.mtime.toUTCString(),
    'x-amz-meta-mtime': String(facts.mtimeMs / 1000),
  });
  response.end();
}

/** An object appears when it is whole, as on every object store. */
async function put(request: IncomingMessage, response: ServerResponse, path: string, temporary: string): Promise<void> {
  const hash = createHash('md5');
  const hashed = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  };
  try {
    await mkdir(dirname(path), { recursive: true });
    await pipeline(request, hashed, createWriteStream(temporary));
    const seconds = Number(request.headers['x-amz-meta-mtime']);
    await utimes(temporary, seconds, seconds);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  response.writeHead(200, { etag: `"${hash.digest('hex')}"` }).end();
}
