/** Finds the code of a command. Each is loaded when it is asked for: `verify` must not pay for what the daemon needs. */
import type { Command } from './command.ts';

/** By name, in the order of the list that an unknown command is answered with. */
export const commands: Readonly<Record<string, () => Promise<Command>>> = {
  status: async () => (await import('./status.ts')).command,
  preview: async () => (await import('./preview.ts')).command,
  history: async () => (await import('./history.ts')).command,
  explain: async () => (await import('./explain.ts')).command,
  push: async () => (await import('./control.ts')).pushCommand,
  mirror: async () => (await import('./mirror.ts')).command,
  approve: async () => (await import('./control.ts')).approveCommand,
  reject: async () => (await import('./control.ts')).rejectCommand,
  rollback: async () => (await import('./rollback.ts')).command,
  recall: async () => (await import('./recall.ts')).command,
  prune: async () => (await import('./prune.ts')).command,
  scrub: async () => (await import('./scrub.ts')).command,
  run: async () => (await import('./run.ts')).command,
  reload: async () => (await import('./control.ts')).reloadCommand,
  backup: async () => (await import('./backup.ts')).command,
  check: async () => (await import('./check.ts')).command,
  doctor: async () => (await import('./doctor.ts')).command,
  verify: async () => (await import('./verify.ts')).command,
  keys: async () => (await import('./keys.ts')).command,
  adopt: async () => (await import('./adopt.ts')).command,
  demo: async () => (await import('./demo.ts')).command,
  completion: async () => (await import('./completion.ts')).command,
  generate: async () => (await import('./generate.ts')).command,
};
