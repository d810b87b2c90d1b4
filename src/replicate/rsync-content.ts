/** Compares what a mirror holds by rsync's dry run: its far side hashes there, no file is sent. A write-only account will do. */
import { join } from 'node:path';
import { hashFile } from '../system/read-paced.ts';
import type { ContentCheck } from './content.ts';
import { unescapeName } from './rsync-listing.ts';
import { createRsyncRunner, fromNames } from './rsync-run.ts';
import type { SshTransportOptions } from './ssh-options.ts';
import type { PushFile, TransportOptions } from './transport.ts';

/** What a file that would be sent is called: `%i` of rsync(1), `<f` and nine signs, all of them `+` for a new file. */
const change = /^<f(\S{9}) (.+)$/;

/** rrsync lets in one run at a time: while a push runs, every call is `busy`. Throws TypeError for a target without a valid host key pin. */
export function createRsyncCheck(options: SshTransportOptions): ContentCheck {
  const { root, run, close } = createRsyncRunner(options);

  async function wouldSend(
    how: readonly string[],
    sourceRoot: string,
    files: readonly PushFile[],
    callOptions: TransportOptions,
  ): Promise<ReadonlyMap<string, 'missing' | 'different'>> {
    // Not longer than the names that go in, and a dozen characters for each.
    const chunks: Buffer[] = [];
    const args = ['--dry-run', ...how, ...fromNames, '--times', '--8-bit-output', '--out-format=%i %n', './', root];
    const input = files.map((file) => `${file.path}\0`).join('');
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    await run(callOptions, { args, cwd: sourceRoot, input, bytes, onStdout: (chunk) => chunks.push(chunk) });
    const found = new Map<string, 'missing' | 'different'>();
    for (const line of Buffer.concat(chunks).toString('latin1').split('\n')) {
      const [, signs, name] = change.exec(line) ?? [];
      if (name !== undefined) found.set(unescapeName(name), signs === '+++++++++' ? 'missing' : 'different');
    }
    return found;
  }

  return {
    differing: async (sourceRoot, files, { pace, ...callOptions }) => {
      const found = await wouldSend(['--checksum'], sourceRoot, files, callOptions);
      await pace(files.reduce((sum, file) => sum + file.size, 0));
      const differing = new Set<string>();
      for (const { path, sha256 } of files) {
        if (!found.has(path)) continue;
        // Only two sides were compared: when it is ours that is wrong, nothing is known of the other one.
        const ours = await hashFile(join(sourceRoot, path), { signal: callOptions.signal });
        if (ours.sha256 === sha256) differing.add(path);
      }
      return differing;
    },
    unlike: (sourceRoot, files, callOptions) => wouldSend([], sourceRoot, files, callOptions),
    close,
  };
}
