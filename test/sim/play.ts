/** Plays a story in a thread of its own: the runner of the tests follows every promise of its thread, which takes longer than the play. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { SimReport } from './simulate.ts';

export interface Story {
  readonly seed: number;
  readonly mirrors: number;
  readonly days: number;
  /** What the daemon does wrong, by its name in broken.ts. */
  readonly broken?: string;
  /** The first violation ends the run. */
  readonly untilFirst?: boolean;
}

/** Rejects with whatever the play throws. */
export async function play(story: Story): Promise<SimReport> {
  const worker = new Worker(new URL('./player.ts', import.meta.url), { workerData: story });
  const [report] = (await once(worker, 'message')) as [SimReport];
  return report;
}
