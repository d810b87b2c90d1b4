import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import test from 'node:test';
import { createKeyPair, serveSftp } from '../../src/system/ssh-server.ts';

test('the close of the server ends who has connected and said nothing yet', { timeout: 60_000 }, async (t) => {
  const server = await serveSftp({ root: tmpdir(), authorizedKey: createKeyPair().publicKey, port: 0 });
  const silent = createConnection({ host: '127.0.0.1', port: server.port });
  t.after(() => silent.destroy());
  const [hello] = (await once(silent, 'data')) as [Buffer];
  assert.match(hello.toString(), /^SSH-2\.0-/);
  const closed = once(silent, 'close');
  await server.close();
  await closed;
});
