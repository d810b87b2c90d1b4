/** What `lockstepd verify` takes and tells. */
import { algorithmNames } from '../../trust/algorithms.ts';
import type { CommandSpec } from '../spec.ts';

/** Where apk has the keys of the machine. */
export const defaultKeys = '/etc/apk/keys';

export const spec = {
  name: 'verify',
  group: 'setup',
  summary: 'verify packages, indexes or repository directories, without a daemon',
  text: [
    'In a directory the index comes first, then every package it names against its entry, then the packages that no index names.',
    'An index in a directory named like an architecture must be for that architecture. Symlinks below a directory are followed if they lead to something below the same PATH.',
  ],
  arguments: [
    { name: 'PATH', kind: 'file', many: true, text: 'a package, an index, or a directory with repositories below it' },
  ],
  options: {
    keys: {
      value: 'DIR',
      kind: 'directory',
      multiple: true,
      text: `directory of trusted public keys (*.pub, *.pem); default ${defaultKeys} if it exists`,
    },
    'package-signatures': {
      value: 'WHAT',
      default: 'if-present',
      choices: {
        require: 'each package needs a signature by a trusted key',
        'if-present':
          'as require for a package that no index names; a package that its index authenticates may be unsigned or signed by an unknown key',
        ignore: 'signatures in packages are not looked at',
      },
      text: 'whether the packages must be signed themselves',
    },
    'signature-algorithms': {
      value: 'NAME,...',
      multiple: true,
      text: `accepted algorithms, with commas between: ${algorithmNames.join(', ')}; default all of them (RSA is SHA-1)`,
    },
    json: { text: 'print one JSON object a line: {"path", "verdict", "code", "detail"}' },
  },
  exitCodes: {
    0: 'everything accepted',
    1: 'a path could not be read',
    4: 'something was rejected or held',
  },
  examples: [
    {
      command: 'lockstepd verify --keys /etc/lockstepd/keys/bpo /srv/mirror/public/edge/x86_64',
      does: 'verify a repository with every package of it',
    },
    {
      command: 'lockstepd verify --keys keys --json incoming | jq \'select(.verdict != "accepted")\'',
      does: 'list what cannot be trusted, for a program',
    },
  ],
} as const satisfies CommandSpec;
