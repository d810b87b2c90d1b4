/**
 * The process that the harnesses kill: `driver.ts DIRECTORY WARM NEXT` publishes upload WARM (0: nothing, so that recovery is
 * what comes next), says its threads, waits for a line, publishes upload NEXT and prunes. Exit code 1: it was not published.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Session, upload } from './session.ts';

const [directory = '', warm = '0', next = '0', uploads] = process.argv.slice(2);

let session: Session | null = null;
if (Number(warm) > 0) {
  session = await Session.open(directory);
  await upload(directory, Number(warm), uploads);
  if (!(await session.untilServed(directory, Number(warm), uploads))) throw new Error(session.complaints.join('\n'));
  // The spare tree is under way.
  await sleep(150);
} else {
  await stat(directory);
}
const threads = readdirSync('/proc/self/task').map((tid) => [
  tid,
  readFileSync(`/proc/self/task/${tid}/comm`, 'utf8').trim(),
]);
console.log(JSON.stringify({ threads }));
await once(process.stdin, 'data');
process.stdin.destroy();
session ??= await Session.open(directory);
const served = await session.untilServed(directory, Number(next), uploads, 5000);
try {
  await session.prune();
} catch (error) {
  console.log(JSON.stringify({ complaints: [`prune ${String(error)}`] }));
  process.exitCode = 1;
}
await session.close();
console.log(JSON.stringify({ complaints: session.complaints, served }));
if (!served) process.exitCode = 1;
