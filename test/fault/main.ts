/** `npm run fault:kill -- [--only SCENE,…] [--faults KILL,…] [--every N] [--lanes N] [--verbose]`: a fault at every system call. Exit code 1 for a violation. */
import { parseArgs } from 'node:util';
import { eachLimited } from '../../src/system/limit.ts';
import { missingProgram } from '../support/sshd.ts';
import { FaultHarness } from './harness.ts';
import { canStrike, type Fault, faults } from './points.ts';
import { type SceneName, sceneNames } from './scenes.ts';
import { findBroken, variants } from './teeth.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: sceneNames.join(',') },
    faults: { type: 'string', default: faults.join(',') },
    every: { type: 'string', default: '1' },
    lanes: { type: 'string', default: '2' },
    verbose: { type: 'boolean', default: false },
  },
});
const only = values.only.split(',') as SceneName[];

if (missingProgram('strace') !== undefined) {
  console.log('SKIPPED: strace is not installed: run .ci/setup --tests');
} else {
  for (const variant of variants) {
    const found = await findBroken(variant);
    console.log(`broken on purpose, ${variant.name}: ${found[0] ?? 'NOT FOUND'}`);
    if (found.length === 0) process.exitCode = 1;
  }
  await using harness = await FaultHarness.create();
  for (const scene of only) {
    const all = await harness.points(scene);
    for (const fault of values.faults.split(',') as Fault[]) {
      const points = all.filter((point) => canStrike(fault, point)).filter((_, n) => n % Number(values.every) === 0);
      const startedAt = performance.now();
      const sum = { reached: 0, silent: 0, bad: 0 };
      await eachLimited(points, Number(values.lanes), async (point) => {
        const { fired, silent, violations, complaints } = await harness.run(scene, point, fault);
        if (fired) sum.reached++;
        if (silent) sum.silent++;
        if (violations.length > 0) sum.bad++;
        const { thread, call, nth, path } = point;
        const place = `${fault} ${scene} ${thread} ${call} ${nth} ${path}`;
        if (violations.length > 0) console.log(`VIOLATION ${place}: ${violations.join('; ')}`);
        else if (values.verbose)
          console.log(`${place}: ${fired ? 'struck' : 'missed'}${silent ? ', silent' : ''} ${complaints.join(' ')}`);
      });
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      console.log(
        `${scene} ${fault}: ${points.length} points, ${sum.reached} reached, ${sum.silent} made good in silence, ${sum.bad} with violations, ${seconds} s`,
      );
      if (sum.bad > 0 || sum.reached < points.length * 0.8) process.exitCode = 1;
    }
  }
}
