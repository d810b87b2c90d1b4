/** A web server for one directory, run on a host of a chain: ADDRESS PORT DIRECTORY. Says `listening` once it does. */
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, normalize } from 'node:path';

const [address = '', port = '', directory = ''] = process.argv.slice(2);
const server = createServer((request, response) => {
  const path = join(directory, normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://h').pathname)));
  const facts = statSync(path, { throwIfNoEntry: false });
  if (!facts?.isFile()) return response.writeHead(404).end();
  response.writeHead(200, { 'content-length': facts.size, 'last-modified': facts.mtime.toUTCString() });
  return createReadStream(path)
    .once('error', () => response.destroy())
    .pipe(response);
});
server.listen(Number(port), address, () => process.stdout.write('listening\n'));
