/**
 * `npm run fuzz -- MINUTES`: spoils files until the time is over and prints what became of them. A failure ends the run with exit
 * code 1; its input is saved with the plan that made it. `--replay FILE` judges a saved input again.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import * as fc from 'fast-check';
import { messageOf } from '../../src/errors.ts';
import { Verifier } from '../../src/trust/verify.ts';
import { corpus, type Specimen } from './corpus.ts';
import { Judge } from './judge.ts';
import { plan, type Plan, spoil } from './mutate.ts';

const slowMs = 1000;
/** After so long without an answer the verifying thread hangs; it is not waited for. */
const hangMs = 20_000;
const memoryBytes = 256 * 1024 * 1024;
const roundPlans = 200;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string' }, count: { type: 'string' }, replay: { type: 'string' } },
});
const minutes = Number(positionals[0] ?? '1');
const seed = Number(values.seed ?? Math.floor(Math.random() * 0x7fff_ffff));
const limit = Number(values.count ?? Number.POSITIVE_INFINITY);
const directory = mkdtempSync(join(tmpdir(), 'lockstepd-fuzz-'));
const words = new Map<string, number>();
let [inputs, signedInputs, slowest, memory] = [0, 0, 0, 0];

interface Saved {
  readonly specimen: string;
  readonly signed: boolean;
  readonly seed: number;
  readonly plan: Plan | null;
  readonly what: string;
  readonly base64: string;
}

async function judgeOne(judge: Judge, specimen: Specimen, bytes: Buffer, signed: boolean): Promise<void> {
  const hang = new AbortController();
  const { word, ms } = await Promise.race([
    judge.judge(specimen, bytes, signed),
    new Promise<never>((_, reject) => {
      const timer = setTimeout(() => reject(new Error(`no verdict within ${hangMs} ms`)), hangMs);
      hang.signal.addEventListener('abort', () => clearTimeout(timer));
    }),
  ]).finally(() => hang.abort());
  // A busy machine makes anything slow once: what is slow three times is slow by itself.
  if (ms > slowMs) {
    const again = [ms];
    for (let n = 0; n < 2; n++) again.push((await judge.judge(specimen, bytes, signed)).ms);
    if (Math.min(...again) > slowMs) throw new Error(`a verdict took ${Math.min(...again).toFixed(0)} ms three times`);
  }
  slowest = Math.max(slowest, ms);
  words.set(word, (words.get(word) ?? 0) + 1);
}

async function fuzz(judge: Judge, specimens: readonly Specimen[]): Promise<void> {
  const until = performance.now() + minutes * 60_000;
  for (let round = 0; performance.now() < until && inputs < limit; round++) {
    for (const drawn of fc.sample(plan, { seed: seed + round, numRuns: roundPlans })) {
      const { specimen, bytes, signed } = spoil(specimens, drawn);
      try {
        await judgeOne(judge, specimen, bytes, signed);
      } catch (error) {
        const what = messageOf(error);
        const file = resolve(`fuzz-failure-${seed + round}-${inputs}.json`);
        const saved = { specimen: specimen.name, signed, seed, plan: drawn, what, base64: bytes.toString('base64') };
        writeFileSync(file, `${JSON.stringify(saved satisfies Saved)}\n`);
        throw new Error(`${what}: saved as ${file}, judge it again with npm run fuzz -- --replay ${file}`, {
          cause: error,
        });
      }
      inputs += 1;
      if (signed) signedInputs += 1;
    }
    memory = Math.max(memory, process.memoryUsage.rss());
    if (memory > memoryBytes)
      throw new Error(`the process takes ${memory >> 20} MiB, expected at most ${memoryBytes >> 20}`);
  }
}

function report(seconds: number): void {
  const accepted = words.get('accepted') ?? 0;
  const rate = (inputs / seconds).toFixed(0);
  console.log(
    `seed ${seed}: ${inputs} inputs (${signedInputs} signed by the trusted key) in ${seconds.toFixed(1)} s, ${rate}/s`,
  );
  console.log(
    `accepted ${accepted}, refused ${inputs - accepted}; slowest ${slowest.toFixed(0)} ms; memory ${memory >> 20} MiB`,
  );
  for (const [word, count] of [...words].sort((a, b) => b[1] - a[1]))
    console.log(`${String(count).padStart(9)} ${word}`);
}

async function main(): Promise<void> {
  const verifier = new Verifier({ workers: 1 });
  const specimens = await corpus(verifier);
  await using judge = await Judge.open(verifier, specimens, join(directory, 'input'));
  console.log(`seed ${seed}: ${specimens.length} specimens`);
  if (values.replay !== undefined) {
    const saved = JSON.parse(readFileSync(values.replay, 'utf8')) as Saved;
    const specimen = specimens.find((s) => s.name === saved.specimen);
    if (!specimen) throw new Error(`${saved.specimen} is not among the specimens: its data is absent`);
    await judgeOne(judge, specimen, Buffer.from(saved.base64, 'base64'), saved.signed);
    console.log(`no failure: ${[...words.keys()].join()}`);
    return;
  }
  for (const specimen of specimens) {
    const { word } = await judge.judge(specimen, specimen.bytes, false);
    if (word !== 'accepted') throw new Error(`${specimen.name} is ${word} before anything was done to it`);
  }
  const startedAt = performance.now();
  try {
    await fuzz(judge, specimens);
  } finally {
    report((performance.now() - startedAt) / 1000);
  }
}

try {
  await main();
  process.exitCode = 0;
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
} finally {
  rmSync(directory, { recursive: true, force: true });
}
// The verifying thread may hang, which is a finding and no reason to wait.
process.exit();
