/** `npm run soak:race -- SECONDS`: the racer for as long as asked, with a report. Exit code 1 for an escape or too few flips. */
import { race } from './race.ts';

const seconds = Number(process.argv[2] ?? '60');
const flipsPerSecond = 100_000 / 60;

const report = await race(seconds);
console.log(`${report.flips} flips in ${seconds} s, ${report.escapes.length} escapes`);
console.log(`${report.generations} generations went out meanwhile, ${report.searched} files of the daemon searched`);
for (const path of report.escapes) console.log(`escaped: ${path}`);
if (report.escapes.length > 0) process.exitCode = 1;
if (report.flips < flipsPerSecond * seconds) {
  console.log(`too few flips to count: expected ${Math.ceil(flipsPerSecond * seconds)}`);
  process.exitCode = 1;
}
