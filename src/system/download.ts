/** Reads one file of a web server as it is stored there, byte for byte, with bounds on time, size and redirects. */
import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

export interface DownloadOptions {
  /** More bytes are an error. */
  readonly maxBytes: number;
  /** Longest silence in milliseconds. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

const maxRedirects = 3;

/** The chunks of the file at `url` in order. Throws Error with one line for the operator, or the signal's reason once aborted. */
export async function* download(url: string, options: DownloadOptions): AsyncGenerator<Buffer, void, undefined> {
  const response = await get(url, options);
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      options.signal.throwIfAborted();
      length += chunk.length;
      if (length > options.maxBytes) throw new Error(`more than ${options.maxBytes} bytes`);
      yield chunk;
    }
  } finally {
    response.destroy();
  }
}

async function get(from: string, { signal, stallMs }: DownloadOptions): Promise<IncomingMessage> {
  let url = new URL(from);
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    // No decoding: what is compared is the file.
    const headers = { 'user-agent': 'lockstepd', 'accept-encoding': 'identity' };
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, { headers, signal, timeout: stallMs, agent: false });
    request.on('timeout', () => request.destroy(new Error(`silent for ${Math.round(stallMs / 1000)} s`)));
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const status = response.statusCode ?? 0;
    if (status === 200) return response;
    response.destroy();
    const next = URL.parse(response.headers.location ?? '', url.href);
    if (status < 300 || status > 399 || next === null) throw new Error(`HTTP status ${status}`);
    if (next.protocol !== 'http:' && next.protocol !== 'https:')
      throw new Error('redirected to something that is not http or https');
    url = next;
  }
  throw new Error(`redirected more than ${maxRedirects} times`);
}
