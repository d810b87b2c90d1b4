/** The thread of SideHash: hashes the pieces of the shared memory that it is told of, in order, and answers each message. */
import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';

export type SideHashMessage = 'begin' | 'digest' | { readonly offset: number; readonly length: number };

const memory = Buffer.from(workerData as SharedArrayBuffer);
let hash = createHash('sha256');

parentPort?.on('message', (message: SideHashMessage) => {
  let digest = '';
  if (message === 'begin') hash = createHash('sha256');
  else if (message === 'digest') digest = hash.digest('hex');
  else hash.update(memory.subarray(message.offset, message.offset + message.length));
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(digest);
});
