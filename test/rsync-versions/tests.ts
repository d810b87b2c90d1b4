/** Runs the tests that talk to a mirror's rsync with another one in its place, and counts what came of them. */
import { globSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { run } from 'node:test';

const repository = resolve(import.meta.dirname, '../..');

/** Tests of rsync alone. */
const whole = [
  ...['rsync-sender', 'rsync-refused', 'rsync-hostile', 'rsync'].map((name) => `test/replicate/${name}.test.ts`),
  'test/stories/main-job.test.ts',
  'test/pull/*.test.ts',
];

/** Tests of every transport, of which those are run whose name begins with that of an rsync. */
const shared = ['test/contract/transport.test.ts', 'test/replicate/prefilled.test.ts'];
const ofRsync = /^rsync to /;

/** Begins what a test says of an rsync that is known to do otherwise, or why it skips for it. */
const knownMark = 'known: ';

export interface Outcome {
  readonly passed: number;
  readonly skipped: readonly string[];
  readonly failed: readonly { readonly name: string; readonly message: string }[];
  /** What tests know to be otherwise with this rsync, without doubles. */
  readonly known: readonly string[];
}

/** Runs them all, one file at a time; `bin` has the rsync and the rrsync of the mirror. */
export async function runTests(
  bin: string,
  onTest: (name: string, result: 'passed' | 'skipped' | 'FAILED') => void,
): Promise<Outcome> {
  let passed = 0;
  const [skipped, failed, known]: [string[], { name: string; message: string }[], Set<string>] = [[], [], new Set()];
  const note = (said: string): void => void (said.startsWith(knownMark) && known.add(said.slice(knownMark.length)));
  process.env.LOCKSTEPD_MIRROR_PATH = bin;
  for (const [files, testNamePatterns] of [[whole], [shared, [ofRsync]]] as const) {
    const events = run({
      files: files
        .flatMap((pattern) => globSync(pattern, { cwd: repository }))
        .map((file) => resolve(repository, file)),
      concurrency: false,
      timeout: 900_000,
      ...(testNamePatterns && { testNamePatterns: [...testNamePatterns] }),
    });
    let suite = '';
    for await (const { type, data } of events) {
      if (type === 'test:start' && data.nesting === 0) suite = data.name;
      if (type === 'test:diagnostic') note(data.message);
      if ((type !== 'test:pass' && type !== 'test:fail') || data.details.type === 'suite') continue;
      const file = relative(repository, data.file ?? '').replace(/^test\/|\.test\.ts$/g, '');
      const name = [file, ...(data.nesting > 0 ? [suite] : []), data.name].join(': ');
      onTest(name, type === 'test:fail' ? 'FAILED' : data.skip === undefined ? 'passed' : 'skipped');
      if (type === 'test:fail') failed.push({ name, message: messageOf(data.details.error) });
      else if (data.skip === undefined) passed++;
      else {
        skipped.push(`${name} (${String(data.skip)})`);
        note(String(data.skip));
      }
    }
  }
  return { passed, skipped, failed, known: [...known] };
}

/** The runner puts what a test threw into an error of its own. */
function messageOf(error: Error): string {
  return error.cause instanceof Error ? error.cause.message : error.message;
}
