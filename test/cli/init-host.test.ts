/** What `lockstepd init primary` does to a host of its own. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { publicPem } from '../config/world.ts';
import { ScratchHost } from '../support/scratch-host.ts';

test('init primary gets along with what another one left, and leaves alone what is not ours', async (t) => {
  const host = await ScratchHost.create(t);
  if (host === null) return;
  host.write('/root/one.pub', publicPem);
  const init = 'lockstepd init primary --builder example --trust-key one.pub';
  const before = await host.run('stat -c "%n %a %U:%G" /etc /var/lib /tmp /srv');
  for (const wrong of ['--root /etc', '--state /var/lib', '--config /tmp/lockstepd.yaml']) {
    const { code, err } = await host.run(`touch /tmp/x; ${init} ${wrong}`);
    assert.deepEqual([code, err.includes('is there with other things in it')], [1, true], `${wrong}: ${err}`);
  }
  assert.equal((await host.run('stat -c "%n %a %U:%G" /etc /var/lib /tmp /srv')).out, before.out);
  assert.equal((await host.run('id lockstepd')).code, 1, 'nothing was made');

  // userdel leaves a group that has other members.
  const left = await host.run(`groupadd --system lockstepd; groupadd --system repoupload-example; ${init}`);
  assert.equal(left.code, 0, left.err);
  const { out } = await host.run('id -gn lockstepd repoupload-example; id -nG lockstepd; lockstepd check');
  assert.match(out, /repoupload-example\n.*ok: 1 inbox/);
  assert.match((await host.run(init)).out, /^nothing to change/);
});
