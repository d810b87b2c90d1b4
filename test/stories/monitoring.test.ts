/** A mirror dies and comes back, and the operator's Prometheus says so: with a real daemon, a real SFTP mirror, and the rules that ship. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { createKeyPair, serveSftp } from '../../src/system/ssh-server.ts';
import { promtool, readRules, type Rules } from '../observe/monitoring.ts';
import { serveFiles } from '../support/file-server.ts';
import { Primary } from '../support/primary.ts';
import { type FiringAlert, startPrometheus } from '../support/prometheus.ts';
import { freePort, missingProgram } from '../support/sshd.ts';

/** Nobody waits half an hour for a test: the waiting times of the rules are cut, all else is as shipped. */
function shortened({ groups }: Rules): unknown {
  return {
    groups: groups.map(({ name, rules }) => ({
      name,
      rules: rules.map((rule) => ({
        ...rule,
        expr: rule.expr.replace(' > 1800', ' > 1'),
        ...(rule.for !== undefined && { for: '1s' }),
      })),
    })),
  };
}

test('a mirror that dies is told by its alerts, and they end when it is back', { timeout: 600_000 }, async (t) => {
  const missing = missingProgram('prometheus', 'promtool');
  if (missing !== undefined) return t.skip(`${missing} absent`);
  await using primary = await Primary.create();
  const root = join(primary.directory, 'mirrors/paris');
  await mkdir(root, { recursive: true });
  const [ours, theirs] = [createKeyPair(), createKeyPair()];
  const identity = join(primary.directory, 'push-key');
  await writeFile(identity, ours.privateKey, { mode: 0o600 });
  const [sshPort, webPort] = [await freePort(), await freePort()];
  const serve = async () => ({
    sftp: await serveSftp({ root, authorizedKey: ours.publicKey, hostKeyPem: theirs.privateKey, port: sshPort }),
    web: await serveFiles(root, { port: webPort }),
  });
  let paris = await serve();
  const die = async (): Promise<void> => {
    await Promise.all([paris.sftp.close(), paris.web[Symbol.asyncDispose]()]);
  };
  t.after(die);
  const login = `host: 127.0.0.1, port: ${sshPort}, user: push, identity: ${identity}, host_key: "${paris.sftp.hostKeyFingerprint}"`;
  await primary.configure({
    mirrors: `  - { name: paris, url: "http://127.0.0.1:${webPort}/", transport: { type: sftp, path: /, ${login} } }`,
    more: 'schedule: { probe: 1s }',
  });
  await primary.start();
  const address = /"listen":"([^"]+)"/.exec(primary.log)?.[1] ?? '';
  await using prometheus = await startPrometheus(address, shortened(await readRules()));
  const firing = async (): Promise<string[]> =>
    (await prometheus.alerts())
      .filter(({ labels, state }) => labels.mirror === 'paris' && state === 'firing')
      .map(({ labels }) => `${labels.alertname} ${labels.severity}`)
      .toSorted();
  const inTime = (): Promise<number | null> =>
    prometheus.value('lockstep_mirror_generations_total{mirror="paris",outcome="in_time"}');

  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'hello', version: '1.0-r0', contentBytes: 500, seed: 1 });
  await repository.write(primary.inbox);
  await primary.untilInSync('paris', 1);
  await primary.until('Prometheus to know', async () => (await inTime()) === 1);
  // While it was on its way, longer than the shortened rules allow, an alert may have begun.
  await primary.until('no alert', async () => (await firing()).length === 0);
  await promtool(t, ['check', 'metrics'], await (await fetch(`http://${address}/metrics`)).text());

  await die();
  repository.set({ name: 'hello', version: '1.1-r0', contentBytes: 500, seed: 2 });
  await repository.write(primary.inbox);
  const dead = ['MirrorLagging warning', 'MirrorNotObserved warning'];
  // A try that comes soon again may add others of the same mirror.
  let lagging: FiringAlert | undefined;
  await primary.until('both alerts', async () => {
    const now = await firing();
    lagging = (await prometheus.alerts()).find(({ labels }) => labels.alertname === 'MirrorLagging');
    return dead.every((one) => now.includes(one)) && lagging !== undefined;
  });
  assert.equal(lagging?.annotations.summary, 'Mirror paris is behind');
  assert.match(lagging.annotations.description ?? '', /^paris lacks a generation that was published \d/);
  assert.match(lagging.annotations.runbook_url ?? '', /runbook\.md#mirrorlagging$/);

  paris = await serve();
  await primary.control('push', { mirror: 'paris' });
  await primary.untilInSync('paris', 2);
  await primary.until('the alerts to end', async () => (await firing()).length === 0);
  await primary.until('the objective to count it', async () => (await inTime()) === 2);
});
