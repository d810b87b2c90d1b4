/** Tries the account and the URL of every mirror, a few at a time; what goes wrong at one is a fact like any other. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MirrorConfig } from '../../config/mirror-schema.ts';
import { isInPart } from '../../config/part.ts';
import type { Config } from '../../config/schema.ts';
import { messageOf, TransportError } from '../../errors.ts';
import { Prober } from '../../observe/probe.ts';
import { tryMirror } from '../../replicate/trial.ts';
import { parseTrace, type Trace, traceFile, traceLimit } from '../../store/trace.ts';
import type { Clock } from '../../system/clock.ts';
import { eachLimited } from '../../system/limit.ts';
import { escapeText } from '../../system/log.ts';
import { version } from '../../system/version.ts';
import type { AccountFacts, Online, OnlineFacts, UrlFacts } from './online.ts';

const mirrorsAtATime = 8;
/** Longer than the 15 s of a connection, so that it is known what took so long. */
const deadlineMs = 30_000;

/** Changes nothing, here or there. Rejects only with the signal's reason once aborted. */
export async function gatherOnline(
  { root, mirrors }: Pick<Config, 'root' | 'mirrors'>,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Online> {
  const published = await readTrace(root);
  const prober = new Prober({ version, clock });
  const found = new Map<MirrorConfig, OnlineFacts>();
  await eachLimited(mirrors, mirrorsAtATime, async (mirror) => {
    const [account, url] = await Promise.all([
      tryAccount(mirror, clock, signal),
      mirror.url === null ? null : fetchFrom(mirror, mirror.url, published, prober, signal),
    ]);
    found.set(mirror, { mirror, account, url });
  });
  return { mirrors: mirrors.flatMap((mirror) => found.get(mirror) ?? []), published };
}

async function readTrace(root: string): Promise<Trace | null> {
  try {
    return parseTrace(await readFile(join(root, 'public', traceFile), 'utf8'));
  } catch {
    // Before the first generation there is none; what keeps us from reading it is a finding of its own.
    return null;
  }
}

async function tryAccount({ transport }: MirrorConfig, clock: Clock, signal: AbortSignal): Promise<AccountFacts> {
  try {
    return await tryMirror(transport, { clock, signal, deadlineMs });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TransportError) return error;
    return { reason: 'unknown', message: escapeText(messageOf(error)) };
  }
}

async function fetchFrom(
  { name, part }: MirrorConfig,
  url: string,
  published: Trace | null,
  prober: Prober,
  signal: AbortSignal,
): Promise<UrlFacts> {
  const ours = [...(published?.indexes ?? [])].find(([path]) => isInPart(part, path.replace(/\/[^/]*$/, '')));
  const indexes = [...(ours ? [ours[0]] : []), traceFile];
  const { indexes: answers, clockSkewSeconds } = await prober.probe({ mirror: name, url, indexes }, { signal });
  const answerTo = (path: string): UrlFacts['trace'] => answers.get(path) ?? { failed: 'no answer' };
  const trace = answerTo(traceFile);
  return {
    index: ours ? { path: ours[0], sha256: ours[1], answer: answerTo(ours[0]) } : null,
    trace,
    generation: 'sha256' in trace ? await generationAt(url, prober, signal) : null,
    clockSkewSeconds,
  };
}

/** The generation of the trace at `url`; null when it is no trace. */
async function generationAt(url: string, prober: Prober, signal: AbortSignal): Promise<number | null> {
  const bytes = await prober.read(url, traceFile, { maxBytes: traceLimit, signal });
  return bytes === null ? null : (parseTrace(bytes.toString('utf8'))?.generation ?? null);
}
