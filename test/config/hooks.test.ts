import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { good, world } from './world.ts';

const hook = (keys: string): string => `${good}hooks:\n  - ${keys.split('\n').join('\n    ')}\n`;

test('a hook with defaults, and one with every key', async (t) => {
  const { load, directory } = world(t);
  writeFileSync(join(directory, 'run'), '#!/bin/sh\n', { mode: 0o755 });
  assert.deepEqual((await load(good)).hooks, []);
  const [plain] = (await load(hook('name: a\non: [held]\ncommand: [$T/run]'))).hooks;
  assert.deepEqual(plain, { name: 'a', on: ['held'], command: [join(directory, 'run')], timeoutMs: 30_000 });
  const keys = 'name: b\non: [rejected, published, rejected]\ncommand: [$T/run, "", "a b"]\ntimeout: 2m';
  const [full] = (await load(hook(keys))).hooks;
  assert.deepEqual(full, {
    name: 'b',
    on: ['published', 'rejected'],
    command: [join(directory, 'run'), '', 'a b'],
    timeoutMs: 120_000,
  });
});

const command = 'command: [/bin/true]';
for (const [title, written, expected] of [
  [
    'an event that there is not',
    `name: a\non: [holds]\n${command}`,
    '19:10: hooks[0].on[0]: "holds", expected published, held, rejected, mirror_blocked or mirror_recovered',
  ],
  [
    'no event',
    `name: a\non: []\n${command}`,
    '19:9: hooks[0].on: a list, expected a list of one or more events (published, held, rejected, mirror_blocked, mirror_recovered)',
  ],
  [
    'a shell line in place of a list',
    'name: a\non: [held]\ncommand: mail ops',
    '20:14: hooks[0].command: "mail ops", expected a list of one or more strings: the program and its arguments',
  ],
  [
    'a program that would have to be searched for',
    'name: a\non: [held]\ncommand: [mail]',
    '20:15: hooks[0].command[0]: "mail", expected the absolute path of a program',
  ],
  [
    'a program that is not there',
    'name: a\non: [held]\ncommand: [$T/none]',
    '20:15: hooks[0].command[0]: $T/none cannot be run (ENOENT: no such file or directory), expected a program that this user can run',
  ],
  [
    'a program that may not be run',
    'name: a\non: [held]\ncommand: [$T/identity]',
    '20:15: hooks[0].command[0]: $T/identity cannot be run (EACCES: permission denied), expected a program that this user can run',
  ],
  [
    'a directory',
    'name: a\non: [held]\ncommand: [$T]',
    '20:15: hooks[0].command[0]: $T is no file, expected a program',
  ],
  [
    'an argument with a line end',
    'name: a\non: [held]\ncommand: [/bin/true, "a\\nb"]',
    '20:26: hooks[0].command[1]: "a\\nb", expected an argument of at most 4096 bytes without control characters',
  ],
  [
    'a deadline without end',
    `name: a\non: [held]\n${command}\ntimeout: 2h`,
    '21:14: hooks[0].timeout: "2h", expected a duration from 1s to 1h',
  ],
] as const) {
  test(title, async (t) => {
    const { problems } = world(t);
    assert.deepEqual(await problems(hook(written)), [expected]);
  });
}

test('a program that anybody may change', async (t) => {
  const { problems, directory } = world(t);
  writeFileSync(join(directory, 'run'), '#!/bin/sh\n');
  chmodSync(join(directory, 'run'), 0o757);
  assert.deepEqual(await problems(hook('name: a\non: [held]\ncommand: [$T/run]')), [
    '20:15: hooks[0].command[0]: $T/run can be changed by anybody, expected a program that others cannot write (chmod o-w)',
  ]);
});

test('a name that is taken, and too many hooks', async (t) => {
  const { problems } = world(t);
  const twice = ['a', 'a'].map((name) => `  - { name: ${name}, on: [held], command: [/bin/true] }\n`);
  assert.deepEqual(await problems(`${good}hooks:\n${twice.join('')}`), [
    '19:13: hooks[1].name: "a" is also hooks[0], expected another name',
  ]);
  const many = Array.from({ length: 17 }, (_, n) => `  - { name: h${n}, on: [held], command: [/bin/true] }\n`);
  assert.deepEqual(await problems(`${good}hooks:\n${many.join('')}`), ['18:3: hooks: 17 hooks, expected at most 16']);
});
