/** `npm run fault:kill -- [SHARE] [SEED]`: the faults at every system call, or at that share of them. Exit code 1 for a violation. */
import { missingProgram } from '../support/sshd.ts';
import { choose, type Fault, KillHarness, type Scene } from './kill.ts';
import { random } from './random.ts';

const share = Number(process.argv[2] ?? '1');
const seed = Number(process.argv[3] ?? '20261122');
const faults = (process.argv[4]?.split(',') ?? ['KILL', 'EIO', 'ENOSPC', 'EMFILE']) as Fault[];
const next = random(seed);

if (missingProgram('strace') !== undefined) {
  console.log('SKIPPED: strace is not installed: run .ci/setup --tests');
} else {
  console.log(`seed ${seed}, share ${share}`);
  await using harness = await KillHarness.create();
  for (const fault of faults) {
    for (const scene of ['publish', 'recover'] satisfies Scene[]) {
      const all = await harness.points(scene, fault);
      let fired = 0;
      let bad = 0;
      const points = choose(all, Math.ceil(all.length * share), next);
      for (const point of points) {
        const outcome = await harness.run(point, fault);
        if (outcome.fired) fired++;
        if (outcome.violations.length === 0) continue;
        bad++;
        console.log(`${fault} ${scene} ${point.thread} ${point.call} ${point.nth}: ${outcome.violations.join('; ')}`);
      }
      console.log(
        `${fault} ${scene}: ${points.length} of ${all.length} points, ${fired} reached, ${bad} with violations`,
      );
      if (bad > 0 || fired < points.length / 2) process.exitCode = 1;
    }
  }
}
