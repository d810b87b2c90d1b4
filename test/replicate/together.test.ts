import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { decideSwitch, type Member, stragglersOf, type SwitchFacts } from '../../src/replicate/together.ts';

const member = fc.record({
  name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  has: fc.option(fc.integer({ min: 1, max: 12 })),
  shows: fc.option(fc.integer({ min: 1, max: 9 })),
  out: fc.option(fc.constantFrom('blocked', 'quiet', 'unreachable')),
});
const quorum = fc.oneof(
  fc.integer({ min: 1, max: 100 }).map((percent) => ({ percent })),
  fc.integer({ min: 1, max: 9 }).map((mirrors) => ({ mirrors })),
);
const facts: fc.Arbitrary<SwitchFacts> = fc.record({
  generation: fc.constant(10),
  waitingSinceMs: fc.nat(1000),
  members: fc.array(member, { maxLength: 8 }),
  quorum,
  deadlineMs: fc.integer({ min: 1, max: 1000 }),
});
const goes = (given: SwitchFacts, nowMs: number): boolean => decideSwitch(given, nowMs).verdict === 'go';
const hasIt = ({ has }: Member): boolean => (has ?? 0) >= 10;

test('nothing waits beyond the deadline, and what goes once never waits again', () => {
  fc.assert(
    fc.property(facts, fc.nat(3000), (given, nowMs) => {
      const decision = decideSwitch(given, nowMs);
      if (decision.verdict === 'wait') assert.ok(nowMs < decision.untilMs && goes(given, decision.untilMs));
      else assert.ok(goes(given, nowMs + 1));
    }),
  );
});

test('one more mirror that has the packages, or that nobody waits for, never holds the others up', () => {
  fc.assert(
    fc.property(facts, fc.nat(8), fc.boolean(), (given, at, brings) => {
      fc.pre(goes(given, 0) && given.members[at] !== undefined && !hasIt(given.members[at]));
      const members = given.members.map((each, n) =>
        n === at ? { ...each, ...(brings ? { has: 10 } : { out: 'blocked' }) } : each,
      );
      assert.ok(goes({ ...given, members }, 0));
    }),
  );
});

test('before the deadline it goes only with a quorum of those that take part, or where nothing is mixed', () => {
  fc.assert(
    fc.property(facts, (given) => {
      const decision = decideSwitch(given, 0);
      if (decision.verdict !== 'go' || decision.because !== 'quorum') return;
      const counted = given.members.filter((each) => each.out === null || hasIt(each));
      const share = 'percent' in given.quorum ? (counted.length * given.quorum.percent) / 100 : given.quorum.mirrors;
      assert.ok(given.members.filter(hasIt).length >= Math.min(share, counted.length));
    }),
  );
});

test('five mirrors of which one hangs, in the order of events', () => {
  const named = (...has: readonly (number | null)[]): Member[] =>
    has.map((each, n) => ({ name: `m${n}`, has: each, shows: 9, out: null }));
  const at = (members: readonly Member[]): SwitchFacts => ({
    generation: 10,
    waitingSinceMs: 0,
    members,
    quorum: { percent: 80 },
    deadlineMs: 600_000,
  });
  const decide = (members: readonly Member[], nowMs = 1) => decideSwitch(at(members), nowMs);
  assert.deepEqual(decide(named(10, 10, 10, 9, 9)), { verdict: 'wait', untilMs: 600_000, has: 3, needs: 4 });
  assert.deepEqual(decide(named(10, 10, 10, 10, 9)), { verdict: 'go', because: 'quorum', has: 4 });
  assert.deepEqual(decide(named(10, 9, 9, 9, 9), 600_000), { verdict: 'go', because: 'deadline', has: 1 });
  assert.deepEqual(stragglersOf(named(10, 10, 10, 10, 9), 10), ['m4']);
  const blocked = named(10, 10, 10, 10, 9).map((each) => (each.name === 'm4' ? { ...each, out: 'blocked' } : each));
  assert.deepEqual(stragglersOf(blocked, 10), ['m4 (blocked)']);
  // After a restart: one shows it, so all may.
  const shown = named(10, 10, null, 9, 9).map((each, n) => (n === 0 ? { ...each, shows: 10 } : each));
  assert.deepEqual(decide(shown), { verdict: 'go', because: 'shown', has: 2 });
});
