/** Binds a server to a TCP address or a unix socket: takes over the socket file of a dead process, never that of a live one. */
import { chmod, lstat, rm } from 'node:fs/promises';
import { createConnection, type ListenOptions, type Server } from 'node:net';
import { errnoOf, messageOf, OperationError } from '../errors.ts';

/** Listens on `host` and `port` (0: any free one) and tells the real address. Throws OperationError `STATE`. */
export async function listenOnTcp(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<{ host: string; port: number }> {
  try {
    await listen(server, { host, port });
  } catch (error) {
    const advice =
      errnoOf(error) === 'EADDRINUSE' ? 'another process has it; stop that one or choose another port' : '';
    throw failure(`cannot listen on ${host}:${port}`, error, advice || 'check `listen` in the configuration');
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new OperationError('STATE', 'the server has no address');
  return { host: address.address, port: address.port };
}

/** Listens on the unix socket `path`, mode 0660. Throws OperationError `STATE` when somebody answers there already. */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  try {
    await listen(server, { path });
  } catch (error) {
    if (errnoOf(error) !== 'EADDRINUSE') throw failure(`cannot make the socket ${path}`, error, 'check its directory');
    await removeStale(path);
    await listen(server, { path });
  }
  await chmod(path, 0o660);
}

async function removeStale(path: string): Promise<void> {
  if (!(await lstat(path)).isSocket()) {
    throw new OperationError('STATE', `cannot make the socket ${path}: another file is there: move it away`);
  }
  if (await answers(path)) {
    throw new OperationError('STATE', `cannot make the socket ${path}: a running daemon answers there: stop it first`);
  }
  await rm(path, { force: true });
}

/** True unless the connection is refused, which is what the file of a dead process does. */
async function answers(path: string): Promise<boolean> {
  return new Promise<boolean>((resolve, reject) => {
    const probe = createConnection({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error) => {
      const code = errnoOf(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      else reject(failure(`cannot tell whether the socket ${path} is in use`, error, 'remove it if no daemon runs'));
    });
  });
}

async function listen(server: Server, options: ListenOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function failure(what: string, error: unknown, advice: string): OperationError {
  return new OperationError('STATE', `${what}: ${messageOf(error)}: ${advice}`, { cause: error });
}
