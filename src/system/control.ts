/** Speaks HTTP over the daemon's unix socket, for the commands that ask a running daemon. */
import { type IncomingMessage, request } from 'node:http';
import { errnoOf, messageOf, OperationError } from '../errors.ts';

export interface ControlAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** A daemon that is asked a small thing answers at once. */
const answerMs = 30_000;
const answerLimit = 64 * 1024 * 1024;

/** GET without a body, POST with one. Throws OperationError: UNREACHABLE when no daemon answers, STATE when this user may not ask. */
export async function askDaemon(
  socket: string,
  path: string,
  body?: unknown,
  timeoutMs = answerMs,
): Promise<ControlAnswer> {
  const payload = body === undefined ? null : JSON.stringify(body);
  try {
    return await new Promise<ControlAnswer>((resolve, reject) => {
      const req = request({
        socketPath: socket,
        path,
        method: payload === null ? 'GET' : 'POST',
        headers: {
          host: 'lockstepd',
          ...(payload === null
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
        },
        timeout: timeoutMs,
      });
      req.on('timeout', () => req.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
      req.on('error', reject);
      req.on('response', (res) => {
        readAnswer(res).then(
          (text) => resolve({ status: res.statusCode ?? 0, body: parseBody(text) }),
          (error: unknown) => {
            req.destroy();
            reject(error);
          },
        );
      });
      req.end(payload ?? undefined);
    });
  } catch (error) {
    // Who may not ask may not later either.
    const code = errnoOf(error) === 'EACCES' ? 'STATE' : 'UNREACHABLE';
    throw new OperationError(code, `daemon at ${socket}: ${reasonOf(error)}`, { cause: error });
  }
}

async function readAnswer(res: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of res) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length > answerLimit) throw new Error('the answer is too long');
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.trim() };
  }
}

function reasonOf(error: unknown): string {
  switch (errnoOf(error) ?? '') {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return 'does not run: start it (systemctl start lockstepd), or name its configuration with --config';
    case 'EACCES':
      return 'may not be asked by this user: run the command as root or as a member of its group';
    default:
      return messageOf(error);
  }
}
