import assert from 'node:assert/strict';
import test from 'node:test';
import { planAnnouncements } from '../../src/replicate/announce-plan.ts';

const base = {
  primary: 'dl-master.alpinelinux.org',
  topic: 'rsync/{primary}/{branch}/{arch}',
  traceTopic: 'lockstep/{primary}/generation',
  qos: 0,
  trace: '{"generation":7}',
} as const;

const topicsOf = (topic: string, ...repositories: string[]): string[] =>
  planAnnouncements({ ...base, topic, repositories }).map((message) => message.topic);

test("the default is Alpine's layout: the topic by branch and architecture, the path of the repository as payload", () => {
  assert.deepEqual(planAnnouncements({ ...base, repositories: ['edge/main/x86_64', 'edge/community/x86_64'] }), [
    { topic: 'rsync/dl-master.alpinelinux.org/edge/x86_64', payload: 'edge/main/x86_64', qos: 0, retain: false },
    { topic: 'rsync/dl-master.alpinelinux.org/edge/x86_64', payload: 'edge/community/x86_64', qos: 0, retain: false },
    { topic: 'lockstep/dl-master.alpinelinux.org/generation', payload: base.trace, qos: 1, retain: true },
  ]);
});

test('the trace is last, alone when nothing changed, and a repository with two indexes is named once', () => {
  assert.deepEqual(topicsOf(base.topic), ['lockstep/dl-master.alpinelinux.org/generation']);
  assert.equal(topicsOf(base.topic, 'main/x86_64', 'main/x86_64').length, 2);
});

test('paths of other depths', () => {
  const first = (topic: string, path: string): string | undefined => topicsOf(topic, path)[0];
  const all = '{branch}|{repo}|{arch}';
  assert.equal(first(all, 'edge/main/x86_64'), 'edge|main|x86_64');
  assert.equal(first(all, 'v25.12/aarch64'), 'v25.12||aarch64');
  assert.equal(first(all, 'extra-repos/systemd/v25.12/x86_64'), 'extra-repos|systemd/v25.12|x86_64');
  assert.equal(first(all, 'x86_64'), '||x86_64');
  assert.equal(first('r/{branch}/{repo}/{arch}', 'v25.12/aarch64'), 'r/v25.12/aarch64', 'no empty level');
  assert.equal(first('r/{path}', 'staging/a+b/x86_64'), 'r/staging/a_b/x86_64', 'no wildcard');
});
