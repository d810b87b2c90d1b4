import assert from 'node:assert/strict';
import test from 'node:test';
import { warningsOf } from '../../src/config/consistency.ts';
import { good, world } from './world.ts';

test('of two primaries that push with rclone, neither sees without a URL what the other has brought', async (t) => {
  const config = await world(t).load(good);
  const [mirror] = config.mirrors;
  assert.ok(mirror);
  const transport = { type: 'rclone', remote: 's3:b', configFile: '/etc/r', replace: 'auto', stallMs: 1000 } as const;
  const warned = (url: string | null, primary: string | null): string[] =>
    warningsOf({ ...config, publish: { ...config.publish, primary }, mirrors: [{ ...mirror, url, transport }] }, false);
  assert.deepEqual(warned(null, null), []);
  assert.deepEqual(warned('https://m.example.org/', 'one'), []);
  assert.deepEqual(warned(null, 'one'), [
    `mirror ${mirror.name}: nothing tells what another primary has brought there, and older indexes may replace its: give its url`,
  ]);
});

test('a primary that may take over and has no name of its own is told', async (t) => {
  const config = await world(t).load(good);
  const [mirror] = config.mirrors;
  assert.ok(mirror);
  const url = 'https://m.example.org/';
  const warned = (takeoverAfterMs: number | null, primary: string | null): string[] => {
    const publish = { ...config.publish, primary };
    return warningsOf({ ...config, publish, mirrors: [{ ...mirror, url, takeoverAfterMs }] }, false);
  };
  assert.deepEqual(warned(null, null), []);
  assert.deepEqual(warned(600_000, 'two'), []);
  assert.deepEqual(warned(600_000, null), [
    `mirror ${mirror.name}: takeover_after without publish.primary: this primary goes by the name of its host, and where the first one has the same name it is not seen to work again: give each its own publish.primary`,
  ]);
});

test('two mirrors in one place are told', async (t) => {
  const config = await world(t).load(good);
  const [mirror] = config.mirrors;
  assert.ok(mirror?.transport.type === 'rsync');
  const { transport } = mirror;
  const warned = (other: typeof transport): string[] =>
    warningsOf({ ...config, mirrors: [mirror, { ...mirror, name: 'lyon', transport: other }] }, false).filter((line) =>
      line.includes('lyon: it is the same'),
    );
  assert.deepEqual(warned(transport), [
    'mirror lyon: it is the same account and place as mirror paris: keep one of them',
  ]);
  for (const other of [
    { ...transport, port: 2222 },
    { ...transport, user: 'lyon' },
    { ...transport, identity: '/etc/lockstepd/other-key' },
  ])
    assert.deepEqual(warned(other), []);
});
