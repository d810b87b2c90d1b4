/** What `lockstepd backup` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'backup',
  group: 'daemon',
  summary: 'copy the state to a file, whether the daemon runs or not',
  text: [
    'FILE appears whole and on the disk, or not at all. It holds the history, the decisions and what mirrors were confirmed to hold; what is published lies in ROOT/trees.',
    "To restore: stop the daemon, remove state.db-wal and state.db-shm, put FILE in the place of state.db, owned by the daemon's user, and start. What was published since the backup is found in the trees.",
  ],
  arguments: [{ name: 'FILE', kind: 'file', text: 'where the copy is to be' }],
  options: { force: { text: 'replace FILE if it is there' }, config: configOption },
  exitCodes: { 0: 'the copy is there', 78: 'the configuration cannot be used' },
  examples: [
    { command: 'lockstepd backup /var/backups/lockstepd-state.db --force', does: 'a line for a nightly timer' },
  ],
} as const satisfies CommandSpec;
