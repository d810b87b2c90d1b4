import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { warningsOf } from '../../src/config/consistency.ts';
import { good, world } from './world.ts';

const broker = (keys: string): string => `${good}announce:\n  - ${keys.split('\n').join('\n    ')}\n`;

const ofBrokers = (warnings: string[]): string[] => warnings.filter((one) => one.startsWith('announce '));

test('a broker with defaults, and one with every key', async (t) => {
  const { load, directory } = world(t);
  writeFileSync(join(directory, 'password'), 'p', { mode: 0o600 });
  writeFileSync(join(directory, 'ca.pem'), 'c');
  const [plain] = (await load(broker('name: a\nurl: mqtts://broker.example.org'))).announce;
  assert.deepEqual(plain, {
    name: 'a',
    url: 'mqtts://broker.example.org:8883',
    user: null,
    passwordFile: null,
    caFile: null,
    primary: null,
    topic: 'rsync/{primary}/{branch}/{arch}',
    traceTopic: 'lockstep/{primary}/generation',
    qos: 0,
  });
  const keys =
    'name: b\nurl: mqtt://[::1]:1884/\nuser: u\npassword: $T/password\nprimary: dl.example.org\ntopic: "x/{path}"\ntrace_topic: t\nqos: 1';
  const [full] = (await load(broker(keys))).announce;
  assert.deepEqual(
    [full?.url, full?.passwordFile, full?.primary, full?.topic, full?.traceTopic, full?.qos],
    ['mqtt://[::1]:1884', join(directory, 'password'), 'dl.example.org', 'x/{path}', 't', 1],
  );
  const named = `publish: { primary: one.example.org }\n`;
  const names = (
    await load(`${broker('name: d\nurl: mqtts://b')}  - { name: e, url: "mqtts://b", primary: other }\n${named}`)
  ).announce;
  assert.deepEqual(
    names.map(({ primary }) => primary),
    ['one.example.org', 'other'],
  );
  const credential = await load(broker('name: c\nurl: mqtts://b\nuser: u\npassword: credential:mqtt'), {
    outsideService: true,
  });
  assert.deepEqual(ofBrokers(warningsOf(credential, true)), [
    'announce c: /run/credentials/lockstepd.service/mqtt was not looked at: systemd hands it over when the service starts',
  ]);
});

test('a password in plain text over the network deserves a warning, on this host it does not', async (t) => {
  const { load, directory } = world(t);
  writeFileSync(join(directory, 'password'), 'p', { mode: 0o600 });
  const warned = async (host: string): Promise<string[]> =>
    ofBrokers(warningsOf(await load(broker(`name: a\nurl: mqtt://${host}\nuser: u\npassword: $T/password`)), true));
  assert.deepEqual(await warned('localhost'), []);
  assert.deepEqual(await warned('[::1]'), []);
  assert.deepEqual(await warned('broker.example.org'), [
    'announce a: the password goes over the network in plain text: use mqtts://',
  ]);
});

const urlExpected =
  'expected mqtts://HOST:PORT, or mqtt://HOST:PORT without encryption, and user and password as keys of their own';
const topicExpected =
  'expected a topic of names, {primary}, {branch}, {repo}, {arch}, {path}, without wildcards and not below $';
const bad: readonly (readonly [string, string, readonly string[]])[] = [
  [
    'a password in the URL, which is not shown',
    'name: a\nurl: mqtts://u:secret@b',
    [`19:10: announce[0].url: "mqtts://…@b", ${urlExpected}`],
  ],
  ['a web address', 'name: a\nurl: https://b', [`19:10: announce[0].url: "https://b", ${urlExpected}`]],
  [
    'a password that lies open',
    'name: a\nurl: mqtts://b\nuser: u\npassword: $T/open',
    ['21:15: announce[0].password: $T/open has mode 0644, expected a password that others cannot read (chmod 600)'],
  ],
  [
    'a password that is not a file',
    'name: a\nurl: mqtts://b\nuser: u\npassword: secret',
    ['21:15: announce[0].password: "secret", expected an absolute path or credential:NAME'],
  ],
  [
    'a password without a user',
    'name: a\nurl: mqtts://b\npassword: $T/identity',
    ['20:15: announce[0].password: a password without user, expected both or none'],
  ],
  [
    'a CA for a plain connection',
    'name: a\nurl: mqtt://b\nca: $T/open',
    ['20:9: announce[0].ca: a CA without encryption, expected an mqtts:// url'],
  ],
  [
    'a CA that is not there',
    'name: a\nurl: mqtts://b\nca: $T/none',
    [
      '20:9: announce[0].ca: $T/none cannot be read (ENOENT: no such file or directory), expected a file that this user can read',
    ],
  ],
  ['a wildcard', 'name: a\nurl: mqtts://b\ntopic: "x/#"', [`20:12: announce[0].topic: "x/#", ${topicExpected}`]],
  [
    'a field that is unknown',
    'name: a\nurl: mqtts://b\ntopic: "x/{host}"',
    [`20:12: announce[0].topic: "x/{host}", ${topicExpected}`],
  ],
  ['a QoS that needs a session', 'name: a\nurl: mqtts://b\nqos: 2', ['20:10: announce[0].qos: 2, expected 0 or 1']],
  [
    'two of one name',
    'name: a\nurl: mqtts://b\n- name: a\n  url: mqtts://c',
    ['20:11: announce[1].name: "a" is also announce[0], expected another name'],
  ],
];

for (const [title, keys, expected] of bad) {
  test(title, async (t) => {
    const { problems, directory } = world(t);
    writeFileSync(join(directory, 'open'), 'x', { mode: 0o644 });
    const text = broker(keys).replace('\n    - name: a\n      url', '\n  - name: a\n    url');
    assert.deepEqual(await problems(text), expected);
  });
}
