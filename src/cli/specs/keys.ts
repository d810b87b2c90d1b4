/** What `lockstepd keys` takes and tells. */
import { configOption, jsonOption, type CommandSpec } from '../spec.ts';

const options = { json: jsonOption, config: configOption };

export const spec = {
  name: 'keys',
  group: 'setup',
  summary: 'list the trusted keys, or audit what is published against them',
  text: [
    'To revoke a key, remove its file: a running daemon notices. Uploads by it are refused from then on; what it has signed stays published until something else is, and is reported by keys list, by /status.json and by an alert.',
  ],
  subcommands: {
    list: {
      text: 'read the key directories of the configuration: each key with its kind, size, SHA-256 of the public key, v3 key id, scope and validity. When the daemon answers, also the published indexes that hang on each key, and those that hang on a key which is not trusted any more.',
      options,
    },
    audit: {
      text: 'read every published index and verify it by the keys of now, and say who signed the packages that it names. Needs no daemon; changes and removes nothing.',
      options,
    },
  },
  exitCodes: {
    0: 'fine',
    1: 'something could not be read',
    4: 'audit: something published hangs on no trusted key',
    78: 'the configuration cannot be used',
  },
  examples: [
    {
      command: 'rm /etc/lockstepd/keys/bpo/old.rsa.pub && lockstepd keys audit',
      does: 'revoke a key and see what hangs on it',
    },
  ],
} as const satisfies CommandSpec;
