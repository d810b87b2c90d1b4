/** `npm run docs`: after the README a new operator goes on with the guide; every command of it runs on the scratch host. */
import test from 'node:test';
import { Operator } from '../support/operator.ts';
import { ScratchHost } from '../support/scratch-host.ts';

test("every command of the operator's guide runs, with the exit code that is meant", async (t) => {
  const host = await ScratchHost.create(t, 'rclone');
  if (host === null) return;
  const operator = new Operator(host);
  await operator.prepare();
  await t.test('README', () => operator.readme());
  await t.test('guide', () => operator.guide());
});
