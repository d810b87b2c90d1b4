import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import type { Status } from '../../src/observe/status.ts';
import { Broker, makeCertificate } from '../support/broker.ts';
import { Primary } from '../support/primary.ts';
import { missingProgram } from '../support/sshd.ts';

const missing = missingProgram('mosquitto', 'mosquitto_sub', 'mosquitto_passwd', 'openssl', 'stdbuf');
const skip = missing && `${missing} is absent`;

async function brokerOf(primary: Primary, name: string): Promise<Status['announcements'][number]> {
  const found = (await primary.status()).announcements.find((broker) => broker.name === name);
  assert.ok(found);
  return found;
}

async function untilState(primary: Primary, name: string, state: string): Promise<Status['announcements'][number]> {
  let found = await brokerOf(primary, name);
  await primary.until(`broker ${name} ${state}`, async () => {
    found = await brokerOf(primary, name);
    return found.state === state;
  });
  return found;
}

async function timed<T>(work: () => Promise<T>): Promise<readonly [result: T, ms: number]> {
  const before = performance.now();
  return [await work(), Math.round(performance.now() - before)];
}

const announce = (...brokers: string[]): string => `announce:\n${brokers.map((b) => `  - { ${b} }`).join('\n')}`;

test('mirrors hear of what changed as Alpine says it, and who comes late sees the newest generation', {
  skip,
}, async () => {
  await using broker = await Broker.create();
  await using primary = await Primary.create();
  const configuration = {
    repositories: ['edge/main/{arch}', 'main/{arch}', 'extra-repos/systemd/*/{arch}'],
    more: announce(`name: local, url: "mqtt://127.0.0.1:${broker.port}", primary: dl.example.org`),
  };
  await primary.configure(configuration);
  const heard = await broker.subscribe('rsync/dl.example.org/#');
  await primary.start();
  await untilState(primary, 'local', 'in-sync');
  assert.deepEqual(heard, [], 'nothing is out yet');

  const edge = primary.repository('edge/main/x86_64');
  edge.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await edge.write(primary.inbox);
  await primary.until('the first message', () => heard.length > 0);
  const systemd = primary.repository('extra-repos/systemd/v25.12/aarch64');
  systemd.set({ name: 'b', version: '1-r0', contentBytes: 100, seed: 2 });
  await systemd.write(primary.inbox);
  await primary.until('the second message', () => heard.length > 1);
  assert.deepEqual(heard, [
    'rsync/dl.example.org/edge/x86_64 edge/main/x86_64',
    'rsync/dl.example.org/extra-repos/aarch64 extra-repos/systemd/v25.12/aarch64',
  ]);
  await primary.until('both known', async () => (await brokerOf(primary, 'local')).generation === 2);

  const trace = await readFile(join(primary.public, 'lockstep.json'), 'utf8');
  const late = await broker.subscribe('lockstep/#');
  await primary.until('the retained trace', () => late.length >= trace.split('\n').length - 1);
  assert.equal(late.join('\n').trim(), `lockstep/dl.example.org/generation ${trace}`.trim());

  // Nothing is said twice because of a restart.
  assert.equal(await primary.stop(), 0);
  await primary.start();
  await untilState(primary, 'local', 'in-sync');
  edge.set({ name: 'a', version: '2-r0', contentBytes: 100, seed: 1 });
  await edge.write(primary.inbox);
  await primary.until('the third message', () => heard.length > 2);
  assert.deepEqual(heard.slice(2), ['rsync/dl.example.org/edge/x86_64 edge/main/x86_64']);
});

test('a broker that is killed delays nobody, and hears of the newest generation when it is back', {
  skip,
}, async () => {
  await using broker = await Broker.create();
  await using primary = await Primary.create();
  await primary.configure({
    more: announce(
      `name: local, url: "mqtt://127.0.0.1:${broker.port}", primary: dl, qos: 1, topic: "{primary}/{path}"`,
    ),
  });
  const repository = primary.repository('main/x86_64');
  const publish = async (version: number): Promise<void> => {
    repository.set({ name: 'a', version: `${version}-r0`, contentBytes: 100, seed: version });
    await repository.write(primary.inbox);
    await primary.untilGeneration(version);
  };
  await primary.start();
  await publish(1);
  await untilState(primary, 'local', 'in-sync');
  await broker.kill();
  const gone = await untilState(primary, 'local', 'waiting');
  assert.match(gone.last_error ?? '', /the broker closed the connection|nothing listens there/);
  await publish(2);
  await publish(3);
  await primary.until('a refused try', async () =>
    /nothing listens there/.test((await brokerOf(primary, 'local')).last_error ?? ''),
  );
  assert.equal((await brokerOf(primary, 'local')).generation, 1);
  // The daemon tells whoever listens already: it goes on when somebody does.
  primary.signal('SIGSTOP');
  await broker.start();
  const heard = await broker.subscribe('#');
  primary.signal('SIGCONT');
  await primary.until(
    'the broker to be told',
    async () => (await brokerOf(primary, 'local')).generation === 3,
    120_000,
  );
  // The trace is the last of what is told.
  await primary.until('the messages', () => heard.some((line) => line.startsWith('lockstep/dl/generation')));
  assert.equal(heard.filter((line) => line === 'dl/main/x86_64 main/x86_64').length, 1, 'once for both generations');
  // A broker that lost what it retained gets it again without any news.
  await broker.kill();
  await untilState(primary, 'local', 'waiting');
  await broker.start();
  await primary.until('the connection', async () => (await brokerOf(primary, 'local')).state === 'in-sync', 120_000);
  const late = await broker.subscribe('lockstep/dl/generation');
  await primary.until(
    'the retained trace',
    () => late.join('\n').includes('"generation": 3') || late.join('').includes('"generation":3'),
  );
});

test('a wrong password blocks with one clear line, and a mended file is used', { skip }, async () => {
  await using broker = await Broker.create({ account: { user: 'lockstep', password: 'right' } });
  await using primary = await Primary.create();
  const password = join(primary.directory, 'password');
  await writeFile(password, 'wrong\n', { mode: 0o600 });
  const url = `mqtt://127.0.0.1:${broker.port}`;
  const config = `name: local, url: "${url}", user: lockstep, password: ${password}`;
  await primary.configure({ more: announce(config) });
  await primary.start();
  const blocked = await untilState(primary, 'local', 'blocked');
  assert.match(blocked.last_error ?? '', /^the broker does not accept user and password, .*Not authorized/);
  assert.ok(blocked.next_attempt_at);
  assert.ok(!primary.log.includes('wrong'), 'the password is not in the log');
  await writeFile(password, 'right\n');
  await primary.configure({ more: announce(`${config}, qos: 1`) });
  primary.signal('SIGHUP');
  await untilState(primary, 'local', 'in-sync');
  // A broker that left the configuration is let go.
  await primary.configure({});
  primary.signal('SIGHUP');
  await primary.until('no broker', async () => (await primary.status()).announcements.length === 0);
});

test('over TLS only a certificate of the CA that was named, for that host', { skip }, async () => {
  await using primary = await Primary.create();
  const good = await makeCertificate(primary.directory, 'good');
  const other = await makeCertificate(primary.directory, 'other');
  await using broker = await Broker.create({ tls: good });
  await chmod(good.ca, 0o644);
  const url = (host: string): string => `url: "mqtts://${host}:${broker.port}"`;
  await primary.configure({
    more: announce(
      `name: good, ${url('localhost')}, ca: ${good.ca}`,
      `name: other-ca, ${url('localhost')}, ca: ${other.ca}`,
      `name: no-ca, ${url('localhost')}`,
      `name: other-host, ${url('127.0.0.1')}, ca: ${good.ca}`,
    ),
  });
  const repository = primary.repository('main/x86_64');
  repository.set({ name: 'a', version: '1-r0', contentBytes: 100, seed: 1 });
  await primary.start();
  await repository.write(primary.inbox);
  await primary.untilGeneration(1);
  await primary.until('the good one told', async () => (await brokerOf(primary, 'good')).generation === 1);
  for (const name of ['other-ca', 'no-ca', 'other-host']) {
    const refused = await untilState(primary, name, 'blocked');
    assert.match(refused.last_error ?? '', /^the certificate of the broker cannot be trusted: /, name);
    assert.equal(refused.generation, null);
  }
});

test('a broker that never answers does not hold up the end', { skip }, async () => {
  const hole = createServer((socket) => void socket.on('error', () => {}));
  await new Promise<void>((done) => {
    hole.listen(0, '127.0.0.1', done);
  });
  const address = hole.address();
  assert.ok(typeof address === 'object' && address);
  try {
    await using primary = await Primary.create();
    await primary.configure({ more: announce(`name: hole, url: "mqtt://127.0.0.1:${address.port}"`) });
    const [, startMs] = await timed(() => primary.start());
    await untilState(primary, 'hole', 'connecting');
    const [code, stopMs] = await timed(() => primary.stop());
    assert.equal(code, 0);
    // The broker has 15 s to answer. A machine that takes seconds to start takes some to stop.
    assert.ok(stopMs < Math.max(10_000, 4 * startMs), `started in ${startMs} ms, stopped in ${stopMs} ms`);
  } finally {
    hole.close();
  }
});
