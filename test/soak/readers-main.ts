/** `npm run soak -- MINUTES`: readers against batches and SIGKILL, with a report. Exit code 1 for a torn read, a lost batch, or a daemon that grows. */
import { soak } from './readers.ts';

const minutes = Number(process.argv[2] ?? '30');
const report = await soak({ seconds: minutes * 60, batchEveryMs: 3000, killEveryMs: 20_000 });
const total = Object.values(report.reads).reduce((sum, one) => sum + one, 0);
console.log(
  `${total} reads (${Object.entries(report.reads)
    .map(([name, n]) => `${name} ${n}`)
    .join(', ')})`,
);
console.log(
  `${report.torn.length} torn, ${report.batches} batches, ${report.kills} kills, lost at: ${report.lost.join(' ') || 'none'}`,
);
for (const one of report.torn.slice(0, 20)) console.log(`torn: ${one}`);
const span = (values: readonly number[]): string => `${Math.min(...values)} to ${Math.max(...values)}`;
if (report.samples.length > 0) {
  console.log(
    `open files ${span(report.samples.map((s) => s.openFiles))}, RSS ${span(report.samples.map((s) => s.rssMiB))} MiB`,
  );
}
if (report.torn.length > 0 || report.lost.length > 0) process.exitCode = 1;
