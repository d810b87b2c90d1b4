/** `lockstepd keys list` and `keys audit`: which keys are trusted for what, and what of the published hangs on no such key. */
import { UsageError } from '../errors.ts';
import type { Command } from './command.ts';
import { audit } from './keys-audit.ts';
import { list } from './keys-list.ts';
import { defaultConfigFile, oneArgument, readArgs } from './options.ts';

export const command: Command = {
  name: 'keys',
  summary: 'list the trusted keys, or audit what is published against them',
  help: `Usage: lockstepd keys list|audit [--json] [--config FILE]

list    reads the key directories of the configuration: each key with its kind, size, SHA-256 of the public key, v3 key
        id, scope and validity. When the daemon answers, also the published indexes that hang on each key, and those
        that hang on a key which is not trusted any more.
audit   reads every published index and verifies it by the keys of now, and says who signed the packages that it names.
        Needs no daemon; changes and removes nothing.

  --json          one JSON document
  --config FILE   the configuration (default ${defaultConfigFile})

To revoke a key, remove its file: a running daemon notices. Uploads by it are refused from then on; what it has signed
stays published until something else is, and is reported by keys list, by /status.json and by an alert.

Exit codes: 0 fine; 1 something could not be read; 4 audit: something published hangs on no trusted key; 78 configuration.

Example:
  rm /etc/lockstepd/keys/bpo/old.rsa.pub && lockstepd keys audit
`,
  run: async (args, io) => {
    const { values, positionals } = readArgs('keys', {
      args: [...args],
      allowPositionals: true,
      options: { json: { type: 'boolean' }, config: { type: 'string' } },
    });
    const options = { json: values.json ?? false, config: values.config ?? defaultConfigFile };
    const what = oneArgument('keys', positionals, 'of list or audit');
    if (what === 'list') return list(options, io);
    if (what === 'audit') return audit(options, io);
    throw new UsageError(`keys: expected list or audit, got ${JSON.stringify(what)}`);
  },
};
