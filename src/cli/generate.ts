/** `lockstepd generate`: prints what other programs need, each kind loaded when it is asked for. */
import { readSubcommand } from './arguments.ts';
import { type Command, exitCode } from './command.ts';
import { spec } from './specs/generate.ts';

export const command: Command = {
  spec,
  run: async (args, io) => {
    const asked = readSubcommand(spec, args);
    switch (asked.name) {
      case 'man': {
        const { generateMan } = await import('./generate-man.ts');
        await generateMan({ page: asked.operands[0], into: asked.values.into }, io);
        break;
      }
      case 'schema': {
        const { generateSchema } = await import('./generate-schema.ts');
        io.out(await generateSchema());
        break;
      }
      case 'rules': {
        const { generateRules } = await import('./generate-shipped.ts');
        io.out(await generateRules(asked.values['runbook-base']));
        break;
      }
      case 'dashboard': {
        const { generateDashboard } = await import('./generate-shipped.ts');
        io.out(await generateDashboard());
        break;
      }
    }
    return exitCode.ok;
  },
};
