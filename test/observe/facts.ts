/** Builds facts for the tests of this room: a mirror that is in step, changed where a test says so. */
import type { BrokerFacts } from '../../src/observe/announcements.ts';
import { neverScrubbed, type ScrubStatus } from '../../src/observe/scrub.ts';
import { operatorPage, renderDocument } from '../../src/observe/page.ts';
import type { RecentHistory } from '../../src/observe/propagation.ts';
import type { BatchFacts, MirrorFacts, Status, StatusFacts } from '../../src/observe/status.ts';

export const nowMs = Date.UTC(2026, 10, 22, 18, 10, 0);
/** What an attacker writes where a name, a path or a message is shown. */
export const hostile = `<script>alert('1')</script>"&\u001b[2J\u202e\n`;

export function mirrorFacts(changes: Partial<MirrorFacts> = {}): MirrorFacts {
  return {
    name: 'paris',
    transport: 'rsync',
    state: 'in-sync',
    generation: 12,
    pushedMissingSinceMs: null,
    observedGeneration: 12,
    observedMissingSinceMs: null,
    observedAtMs: nowMs - 20_000,
    observedUnknownContent: false,
    lastSuccessAtMs: nowMs - 90_000,
    nextAttemptAtMs: null,
    waitsFor: null,
    breaker: 'closed',
    blockedBy: null,
    blockNote: null,
    lastError: null,
    url: 'https://mirror.example.org/pub/',
    sync: null,
    ...changes,
  };
}

export function brokerFacts(changes: Partial<BrokerFacts> = {}): BrokerFacts {
  return {
    name: 'broker',
    url: 'mqtts://broker.example.org:8883',
    state: 'in-sync',
    generation: 12,
    announcedAtMs: nowMs - 600_000,
    nextAttemptAtMs: null,
    lastError: null,
    ...changes,
  };
}

export function batchFacts(changes: Partial<BatchFacts> = {}): BatchFacts {
  return {
    id: 'b1',
    builder: 'bpo',
    state: 'published',
    generation: 12,
    updatedAtMs: nowMs - 600_000,
    reasons: [],
    ...changes,
  };
}

export function repositoryFacts(
  changes: Partial<StatusFacts['repositories'][number]> = {},
): StatusFacts['repositories'][number] {
  return {
    path: 'main/x86_64',
    index: 'APKINDEX.tar.gz',
    generation: 12,
    indexSha256: 'ab'.repeat(32),
    packages: 139,
    builder: 'bpo',
    signedBy: 'bpo.rsa.pub',
    signedKey: 'cd'.repeat(32),
    keyState: 'valid',
    ...changes,
  };
}

/** A scrub that found 5 wrong files on the mirror, 2 of which could not be mended, and one on the primary. */
export const scrubStatus: ScrubStatus = {
  ...neverScrubbed,
  number: 3,
  started_at: '2026-11-22T04:00:00Z',
  finished_at: '2026-11-22T05:00:00Z',
  files: 140,
  files_total: 140,
  bytes: 9_000_000,
  corrupt: 2,
  repaired: 1,
  damaged: [{ path: 'main/x86_64/a-1-r0.apk', found_at: '2026-11-22T04:30:00Z', detail: 'other bytes' }],
  mirrors: [
    {
      name: 'paris',
      outcome: 'done',
      detail: null,
      files: 140,
      sampled: 50,
      missing: 1,
      different: 3,
      corrupt: 1,
      repaired: 3,
      temporary: 0,
      foreign: 1,
      foreign_files: ['main/x86_64/README'],
    },
  ],
};

export function statusFacts(changes: Partial<StatusFacts> = {}): StatusFacts {
  return {
    generation: 12,
    publishedAtMs: nowMs - 600_000,
    repositories: [repositoryFacts()],
    mirrors: [mirrorFacts()],
    batches: [batchFacts()],
    keyProblems: [],
    stateProblem: null,
    announcements: [],
    upstreams: [],
    scrub: { ...neverScrubbed, damaged: [] },
    ...changes,
  };
}

const noHistory: RecentHistory = { version: 1, lag: [], propagation: [] };

/** The page for operators as a document, at `at`. */
export function pageText(status: Status, at: number, history: RecentHistory = noHistory): string {
  return renderDocument(operatorPage({ status, history, nowMs: at }), {
    version: 'v1',
    nowMs: at,
    links: ['status.json'],
  });
}
