/** A web server for one directory, run on a host of a chain: ADDRESS PORT DIRECTORY. Says `listening` once it does. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join, normalize } from 'node:path';

const [address = '', port = '', directory = ''] = process.argv.slice(2);
const server = createServer((request, response) => {
  const path = join(directory, normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://h').pathname)));
  stat(path).then(
    ({ size, mtime }) => {
      response.writeHead(200, { 'content-length': size, 'last-modified': mtime.toUTCString() });
      createReadStream(path)
        .once('error', () => response.destroy())
        .pipe(response);
    },
    () => response.writeHead(404).end(),
  );
});
server.listen(Number(port), address, () => process.stdout.write('listening\n'));
