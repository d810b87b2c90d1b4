/** `power-writer.ts DIRECTORY UPLOADS COUNT`: publishes and prunes one upload after the other, and says the number of each that is published. */
import { Session, upload } from './session.ts';

const [directory = '', uploads = '', count = '0'] = process.argv.slice(2);
const session = await Session.open(directory);
for (let n = 1; n < Number(count); n++) {
  await upload(directory, n, uploads);
  if (!(await session.untilServed(directory, n, uploads))) throw new Error(session.complaints.join('\n'));
  process.stdout.write(`${n}\n`);
  await session.prune();
}
await session.close();
