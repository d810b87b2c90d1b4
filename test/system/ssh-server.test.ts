/** The connection and the embedded server against each other, and the server against what a client must not reach. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import ssh2 from 'ssh2';
import { TransportError } from '../../src/errors.ts';
import { createSftpTransport } from '../../src/replicate/sftp.ts';
import { SshConnection, type SshTarget } from '../../src/system/ssh.ts';
import { createKeyPair, serveSftp } from '../../src/system/ssh-server.ts';
import { openFlag, SftpStatusError } from '../../src/system/ssh-sftp-wire.ts';
import { makeKeyFile, missingProgram } from '../support/sshd.ts';
import { removeAtEnd } from '../support/remove-at-end.ts';

const never = new AbortController().signal;

async function start(t: TestContext): Promise<{ base: string; root: string; target: SshTarget }> {
  const base = mkdtempSync(join(tmpdir(), 'lockstepd-ssh-'));
  removeAtEnd(t, base);
  const root = join(base, 'root');
  mkdirSync(join(root, 'd'), { recursive: true });
  writeFileSync(join(base, 'secret'), 'secret');
  const keys = createKeyPair();
  writeFileSync(join(base, 'key'), keys.privateKey, { mode: 0o600 });
  const server = await serveSftp({ root, authorizedKey: keys.publicKey, port: 0 });
  t.after(() => server.close());
  const { port, hostKeyFingerprint } = server;
  const target = { host: '127.0.0.1', port, user: 'u', identity: join(base, 'key'), hostKeys: [hostKeyFingerprint] };
  return { base, root, target };
}

function connect(t: TestContext, target: SshTarget): SshConnection {
  const connection = new SshConnection(target);
  t.after(() => connection.close());
  return connection;
}

test('callers share one connection and one session, and get new ones after a loss', async (t) => {
  const { target } = await start(t);
  const connection = connect(t, target);
  const [one, two] = await Promise.all([connection.sftp(never), connection.sftp(never)]);
  assert.equal(one, two);
  const pending = one.stat('/');
  connection.reset(new Error('cut'));
  await Promise.all([assert.rejects(pending, /cut/), assert.rejects(one.stat('/'), /cut/).catch(() => {})]);
  const three = await connection.sftp(never);
  assert.notEqual(three, one);
  await three.stat('/');
});

test('a connection that was dropped is given to nobody, not even at once', async (t) => {
  const { target } = await start(t);
  const connection = connect(t, target);
  const one = await connection.sftp(never);
  connection.reset(new Error('cut'));
  const two = await connection.sftp(never);
  assert.notEqual(two, one);
  await two.stat('/');
});

test('a connection that is closed while its key is still being read is never made', async (t) => {
  const { target } = await start(t);
  const connection = connect(t, target);
  const asked = connection.sftp(never);
  await connection.close();
  await assert.rejects(asked, /Connection closed by us/);
  await (await connection.sftp(never)).stat('/');
});

test('the public key alone lets nobody in', async (t) => {
  const { base, target } = await start(t);
  const parse = (key: string): ssh2.ParsedKey => {
    const parsed = ssh2.utils.parseKey(key);
    if (parsed instanceof Error) throw parsed;
    return parsed;
  };
  const known = parse(readFileSync(join(base, 'key'), 'utf8'));
  const other = parse(createKeyPair().privateKey);
  // Shows the key that is let in, and signs with another.
  const forged = Object.assign(Object.create(other) as ssh2.ParsedKey, { getPublicSSH: () => known.getPublicSSH() });
  const client = new ssh2.Client();
  const attempts = [{ type: 'publickey' as const, username: 'u', key: forged as unknown as string }];
  const outcome = await new Promise<string>((resolve) => {
    client.on('ready', () => resolve('let in'));
    client.on('error', (error) => resolve(error.message));
    client.connect({ host: target.host, port: target.port, username: 'u', authHandler: attempts });
  });
  client.destroy();
  assert.match(outcome, /authentication methods failed/);
});

test('a caller who leaves while connecting does not take the connection from the others', async (t) => {
  const { target } = await start(t);
  const connection = connect(t, target);
  const stop = new AbortController();
  const leaving = connection.sftp(stop.signal);
  const staying = connection.sftp(never);
  stop.abort(new Error('bye'));
  await assert.rejects(leaving, /bye/);
  await (await staying).stat('/');
});

test('the root cannot be left by dots or by links', async (t) => {
  const { base, root, target } = await start(t);
  symlinkSync(base, join(root, 'up'));
  symlinkSync(join(base, 'secret'), join(root, 'link'));
  const session = await connect(t, target).sftp(never);
  for (const path of ['/../secret', '../secret', '/d/../../secret', '/up/secret', '/link', '/up/../../secret']) {
    await assert.rejects(session.open(path, openFlag.read, 0), SftpStatusError, path);
    await assert.rejects(
      session.open(`${path}.new`, openFlag.write | openFlag.create, 0o644).then((handle) => {
        // `/../secret.new` is a name inside the root; what counts is that nothing appears outside.
        return session.close(handle).then(() => Promise.reject(new SftpStatusError(0, '', '')));
      }),
      SftpStatusError,
      path,
    );
  }
  await assert.rejects(session.rename('/d', '/up/d'), SftpStatusError);
  await assert.rejects(session.makeDirectory('/up/d', 0o755), SftpStatusError);
  await assert.rejects(session.openDirectory('/up'), SftpStatusError);
  assert.equal(readFileSync(join(base, 'secret'), 'utf8'), 'secret');
  assert.deepEqual(execFileSync('ls', [base], { encoding: 'utf8' }).split('\n').filter(Boolean), [
    'key',
    'root',
    'secret',
  ]);
});

test('what is written is read back', async (t) => {
  const { target } = await start(t);
  const session = await connect(t, target).sftp(never);
  const handle = await session.open('/d/a', openFlag.write | openFlag.read | openFlag.create, 0o644);
  await session.setHandleAttributes(handle, { permissions: 0o600, mtimeSeconds: 77 });
  assert.equal((await session.read(handle, 0, 10)).length, 0);
  await session.close(handle);
  const { size, permissions = 0, mtimeSeconds } = await session.stat('/d/a');
  assert.deepEqual([size, permissions & 0o777, mtimeSeconds], [0, 0o600, 77]);
  assert.ok((await session.space('/')).freeBytes > 0);
});

test('a key file that is missing, no key, or under a passphrase is told by its name', async (t) => {
  const { base, target } = await start(t);
  writeFileSync(join(base, 'no-key'), 'hello');
  const paths = [join(base, 'none'), join(base, 'no-key')];
  if (!missingProgram('ssh-keygen')) {
    await makeKeyFile(join(base, 'locked'), 'passphrase');
    paths.push(join(base, 'locked'));
  }
  for (const identity of paths) {
    await assert.rejects(connect(t, { ...target, identity }).sftp(never), (error) => {
      assert.ok(error instanceof TransportError && error.kind === 'permanent', String(error));
      return error.message.includes(identity);
    });
  }
});

test('there is no connection without a pin', () => {
  const target = { host: 'h', port: 22, user: 'u', identity: '/k' };
  assert.throws(() => new SshConnection({ ...target, hostKeys: [] }), TypeError);
  for (const pin of ['*', 'SHA256:', 'SHA256:abc', `MD5:${'a'.repeat(43)}`]) {
    assert.throws(() => new SshConnection({ ...target, hostKeys: [pin] }), TypeError, pin);
  }
});

test('a server that cannot replace a file in one step is refused', async (t) => {
  const { base, target } = await start(t);
  const keys = createKeyPair();
  // The library's own SFTP server offers no extensions.
  const server = new ssh2.Server({ hostKeys: [keys.privateKey] }, (client) => {
    client.on('error', () => {});
    client.on('authentication', (attempt) => attempt.accept());
    client.on('session', (accept) => void accept().on('sftp', (take) => void take()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const hostKey = ssh2.utils.parseKey(keys.publicKey);
  assert.ok(!(hostKey instanceof Error));
  const { createHash } = await import('node:crypto');
  const pin = `SHA256:${createHash('sha256').update(hostKey.getPublicSSH()).digest('base64')}`;
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const transport = createSftpTransport({ target: { ...target, port, hostKeys: [pin] }, path: '/' });
  t.after(() => transport.close());
  writeFileSync(join(base, 'a'), 'a');
  await assert.rejects(transport.put(base, [[{ path: 'a', size: 1, mtimeSeconds: 1 }]], { signal: never }), (error) => {
    assert.ok(error instanceof TransportError);
    return error.kind === 'permanent' && error.message.includes('posix-rename@openssh.com');
  });
});
