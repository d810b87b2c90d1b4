/** What `lockstepd explain` takes and tells. */
import { configOption, daemonExitCodes, jsonOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'explain',
  group: 'look',
  summary: 'tell the whole life of a package, an index or a batch',
  text: [
    'When it was uploaded, by which builder and in which batch; what verified it; the generation that published it, and the one that took it away; held, rejected, recalled or pruned, and why; and for each mirror since when it is there (confirmed by a push, seen by a probe), or why not yet.',
    'A name may mean several files, in several repositories and over time: they are told newest first.',
  ],
  arguments: [
    {
      name: 'WHAT',
      kind: 'text',
      text: 'REPOSITORY/FILE, a file name, NAME, NAME-VERSION, the path of an index, or the id of a batch',
    },
  ],
  options: {
    limit: { value: 'N', kind: 'number', default: '5', text: 'how many of several matches, 1 to 50' },
    json: jsonOption,
    config: configOption,
  },
  exitCodes: { ...daemonExitCodes, 0: 'told', 1: 'nothing is known of it' },
  examples: [
    { command: 'lockstepd explain main/x86_64/openssh-10.0-r3.apk', does: 'why a mirror has not got this file yet' },
    { command: 'lockstepd explain openssh', does: 'what became of the last versions of a package' },
    { command: 'lockstepd explain 20261122T190000-bpo-1f2e3d4c', does: 'what became of an upload' },
  ],
} as const satisfies CommandSpec;
