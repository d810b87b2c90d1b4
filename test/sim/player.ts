/** The thread that plays one story, see play.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { broken } from './broken.ts';
import type { Story } from './play.ts';
import { simulate } from './simulate.ts';

const { broken: name, ...story } = workerData as Story;
const sabotage = name === undefined ? undefined : broken[name]?.sabotage;
const report = await simulate({ ...story, ...(sabotage && { sabotage }) });
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
parentPort?.postMessage(report);
