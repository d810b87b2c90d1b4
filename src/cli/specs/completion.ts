/** What `lockstepd completion` takes and tells. */
import { configOption, type CommandSpec } from '../spec.ts';

export const spec = {
  name: 'completion',
  group: 'shell',
  summary: 'print what makes a shell complete commands, options and names',
  text: [
    'Names of mirrors, batches and repositories are those that the running daemon knows; when none answers, there are none. The package installs these files already.',
  ],
  subcommands: {
    bash: { text: 'for bash, with or without the package bash-completion' },
    zsh: { text: 'for zsh: a file _lockstepd in a directory of $fpath' },
    fish: { text: 'for fish: a file lockstepd.fish in a directory of $fish_complete_path' },
    names: {
      text: 'print the names of one kind, one a line; what the three others call. Silent, and without an error, when no daemon answers',
      arguments: [
        {
          name: 'KIND',
          kind: 'text',
          choices: { mirror: '', batch: 'those that are not published', repository: '' },
        },
      ],
      options: { config: configOption },
    },
  },
  exitCodes: { 0: 'printed' },
  examples: [
    { command: 'source <(lockstepd completion bash)', does: 'try it in this bash' },
    {
      command: 'lockstepd completion fish > ~/.config/fish/completions/lockstepd.fish',
      does: 'have it in every fish of this account',
    },
  ],
} as const satisfies CommandSpec;
