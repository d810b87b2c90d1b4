/** Judges what a power cut left: before anything touches it, after a start of the daemon, and after one more upload. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../src/config/load.ts';
import { Daemon } from '../../src/daemon.ts';
import { systemClock } from '../../src/system/clock.ts';
import type { Log } from '../../src/system/log.ts';
import { upload, violation } from './session.ts';

export type Verdict =
  | { readonly kind: 'whole' }
  /** Torn: an index that names what is not there, or nothing can be started or published. Lost: a published upload is not served. */
  | { readonly kind: 'torn' | 'lost'; readonly detail: string };

export interface Cut {
  /** Where the file system is mounted. */
  readonly at: string;
  /** Directory of the uploads. */
  readonly uploads: string;
  /** The last upload that was said to be published before the cut. */
  readonly promised: number;
  /** The upload that comes after the cut. */
  readonly next: number;
  /** A directory outside for the configuration and the socket. */
  readonly work: string;
}

export async function judge(cut: Cut): Promise<Verdict> {
  const { at, uploads, promised, next } = cut;
  const before = found('before the start', violation(at, 0, uploads), violation(at, promised, uploads));
  if (before !== null) return before;
  const complaints: string[] = [];
  try {
    const daemon = await start(cut, complaints);
    try {
      const after = found('after the start', violation(at, 0, uploads), violation(at, promised, uploads));
      if (after !== null) return after;
      await upload(at, next, uploads);
      const deadline = performance.now() + patienceMs;
      while (violation(at, next, uploads) !== null) {
        if (performance.now() > deadline)
          return { kind: 'torn', detail: `the next upload is not published: ${complaints.join(' ').slice(0, 300)}` };
        await sleep(5);
      }
    } finally {
      await daemon.stop(AbortSignal.abort());
    }
  } catch (error) {
    return { kind: 'torn', detail: `cannot start: ${String(error)}` };
  }
  return { kind: 'whole' };
}
const patienceMs = 10_000;

function found(when: string, torn: string | null, lost: string | null): Verdict | null {
  if (torn !== null) return { kind: 'torn', detail: `${when}: ${torn}` };
  return lost === null ? null : { kind: 'lost', detail: `${when}: ${lost}` };
}

/** The daemon as `lockstepd run` starts it. */
async function start({ at, work }: Cut, complaints: string[]): Promise<Daemon> {
  mkdirSync(work, { recursive: true });
  const file = join(work, 'lockstepd.yaml');
  writeFileSync(
    file,
    `root: ${join(at, 'srv')}\nstate: ${join(at, 'state')}\nsocket: ${join(work, 'sock')}\nlisten: 127.0.0.1:0\nreserve: 1MiB\n` +
      `inboxes:\n  - builder: bpo\n    path: inbox/bpo\n    settle: 10ms\n    repositories: ["main/{arch}"]\n    keys: ${join(at, 'keys')}\n` +
      'publish: { grace: 0s, keep_trees_for: 0s, max_trees: 2 }\nguards: { downgrade: allow, rebuilt: allow, max_removed_percent: 100 }\n' +
      'schedule: { rescan: 1s }\n',
  );
  const say = (event: string, fields?: object): void => void complaints.push(`${event} ${JSON.stringify(fields)}`);
  const log: Log = { debug: () => {}, info: () => {}, warn: say, error: say };
  const load = (): ReturnType<typeof loadConfig> => loadConfig(file, { env: {} });
  const daemon = new Daemon({
    config: await load(),
    loadConfig: load,
    version: 'test',
    env: {},
    clock: systemClock,
    random: Math.random,
    log,
  });
  try {
    await daemon.start();
  } catch (error) {
    await daemon.stop(AbortSignal.abort());
    throw error;
  }
  return daemon;
}
