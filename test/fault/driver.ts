/**
 * The process that the harness kills and starves. Takes orders as lines of JSON on its input, one after the other, and answers
 * each with a line: `open` prepares a scene and waits at its gate, `go` lets it work, `again` is the next clean start.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { messageOf } from '../../src/errors.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { again } from './again.ts';
import { type Place, type Report, type SceneName, scenes } from './scenes.ts';
import { warm } from './warm.ts';

export type Order =
  | { readonly order: 'open'; readonly scene: SceneName; readonly directory: string; readonly uploads: string }
  | { readonly order: 'go' }
  | {
      readonly order: 'again';
      readonly scene: SceneName;
      readonly directory: string;
      readonly uploads: string;
      /** The work was said to be done. */
      readonly done: boolean;
    };

export interface Opened {
  /** Number and name of each thread. */
  readonly threads: readonly (readonly [string, string])[];
}

export interface Again {
  readonly violations: readonly string[];
}

const verifier = new Verifier({ workers: 1 });
let opened: { readonly go: () => void; readonly report: Promise<Report> } | null = null;

async function obey(order: Order): Promise<Opened | Report | Again> {
  if (order.order === 'open') return open({ ...order, verifier }, order.scene);
  if (order.order === 'go') return go();
  return { violations: await again(order.scene, { ...order, verifier }, order.done) };
}

async function open(place: Place, scene: SceneName): Promise<Opened> {
  await warm(place);
  const gate = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  const report = scenes[scene].go(place, async () => {
    ready.resolve();
    await gate.promise;
  });
  await Promise.race([ready.promise, report]);
  opened = { go: gate.resolve, report };
  return { threads: threads() };
}

async function go(): Promise<Report> {
  if (opened === null) throw new Error('nothing is open');
  const { go: letGo, report } = opened;
  opened = null;
  letGo();
  return report;
}

function threads(): [string, string][] {
  return readdirSync('/proc/self/task').map((tid) => [tid, readFileSync(`/proc/self/task/${tid}/comm`, 'utf8').trim()]);
}

/** What the code itself logs is on the same pipe: an answer begins with a mark. */
function answer(value: object): void {
  process.stdout.write(`\n@${JSON.stringify(value)}\n`);
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    answer(await obey(JSON.parse(line) as Order));
  } catch (error) {
    answer({ failed: messageOf(error) });
  }
}
await verifier[Symbol.asyncDispose]();
