/** Reads files of an rclone remote back and compares their digests: not every remote knows SHA-256, so rclone downloads and hashes. */
import { systemClock } from '../system/clock.ts';
import type { ContentCheck } from './content.ts';
import { runRclone } from './rclone-run.ts';
import type { RcloneTransportOptions } from './rclone.ts';
import { deadlineFor, withStallWatch } from './stall.ts';
import { bytesOf } from './transport.ts';

/** Of a SHA-256 in hex; two spaces and the path follow, as sha256sum prints them. */
const digestLength = 64;

/** One run of rclone for each comparison: it keeps to `bytesPerSecond` of the options by itself. */
export function createRcloneCheck({
  remote,
  configFile,
  bytesPerSecond = null,
  clock = systemClock,
  stallMs = 60_000,
}: Omit<RcloneTransportOptions, 'replace'>): ContentCheck {
  return {
    differing: async (_sourceRoot, files, { onBytes, pace, signal }) => {
      if (files.length === 0) return new Set();
      const bytes = bytesOf([files]);
      await pace(bytes);
      const timeoutMs = deadlineFor(bytes);
      let said = '';
      await withStallWatch({ clock, stallMs, deadlineMs: timeoutMs, signal, onStall: () => {} }, async (inner, alive) =>
        runRclone(
          { configFile, stallMs, bytesPerSecond },
          {
            args: ['hashsum', 'sha256', '--download', remote, '--files-from-raw', '-', '--no-traverse'],
            names: files.map(({ path }) => path),
            timeoutMs,
            onStdout: (chunk) => (said += chunk.toString('utf8')),
            signal: inner,
            onBytes: (count) => {
              alive();
              if (count > 0) onBytes?.(count);
            },
          },
        ),
      );
      const digests = new Map(
        said.split('\n').map((line) => [line.slice(digestLength + 2), line.slice(0, digestLength)]),
      );
      return new Set(files.filter(({ path, sha256 }) => digests.get(path) !== sha256).map(({ path }) => path));
    },
    close: () => Promise.resolve(),
  };
}
