/** `power-writer.ts DIRECTORY UPLOADS COUNT`: publishes one upload after the other, and says the number of each that is published. */
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { Session, upload } from './session.ts';

const [directory = '', uploads = '', count = '0'] = process.argv.slice(2);
for (const name of ['keys', 'srv', 'state'])
  if (!existsSync(join(directory, name))) cpSync(join(uploads, '..', name), join(directory, name), { recursive: true });
const session = await Session.open(directory);
for (let n = 1; n < Number(count); n++) {
  await upload(directory, n, uploads);
  if (!(await session.untilServed(directory, n, uploads))) throw new Error(session.complaints.join('\n'));
  process.stdout.write(`${n}\n`);
}
await session.close();
