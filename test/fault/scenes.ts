/** What the fault harness runs: each scene prepares itself, waits at the gate, and does one piece of real work from there on. */
import { randomUUID } from 'node:crypto';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { command as adopt } from '../../src/cli/adopt.ts';
import { loadConfig } from '../../src/config/load.ts';
import { rebuildFromTrees } from '../../src/daemon/rebuild.ts';
import { messageOf } from '../../src/errors.ts';
import { mendTrees } from '../../src/publish/mend.ts';
import { prepareRollback } from '../../src/publish/rollback.ts';
import { openStore } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { loadKeyring } from '../../src/trust/keyring.ts';
import type { Verifier } from '../../src/trust/verify.ts';
import { hashOf, indexesOf, isRecorded, Session } from './session.ts';

export const sceneNames = [
  'first',
  'publish',
  'prune',
  'recover-copy',
  'recover-switch',
  'recover-commit',
  'rollback',
  'rebuild',
  'mend',
  'adopt',
] as const;
export type SceneName = (typeof sceneNames)[number];

/** What a scene begins with; `cut-…` are what a kill left behind. */
export type BaseName = 'empty' | 'two' | 'three' | 'lost' | 'damaged' | 'plain' | `cut-${'copy' | 'switch' | 'commit'}`;

export interface Place {
  readonly directory: string;
  readonly uploads: string;
  readonly verifier: Verifier;
}

export interface Report {
  /** The work is said to be done. */
  readonly done: boolean;
  /** What was said of things that went wrong. */
  readonly complaints: readonly string[];
}

export interface Scene {
  readonly base: BaseName;
  /** The upload that is served at least before, and the one that is served after. */
  readonly before: number;
  readonly after: number;
  /** Does the work once `gate` resolves; what comes before may not fail. */
  go(place: Place, gate: () => Promise<void>): Promise<Report>;
}

/** The file that scene `mend` finds damaged. */
export const damagedFile = { repository: 'main/x86_64', file: 'b-1-r0.apk' };

export const scenes: Readonly<Record<SceneName, Scene>> = {
  first: { base: 'empty', before: 0, after: 1, go: (place, gate) => ingest(place, gate, 1, true) },
  publish: { base: 'two', before: 2, after: 3, go: (place, gate) => ingest(place, gate, 3, false) },
  prune: { base: 'three', before: 3, after: 3, go: prune },
  'recover-copy': { base: 'cut-copy', before: 2, after: 3, go: start },
  'recover-switch': { base: 'cut-switch', before: 2, after: 3, go: start },
  'recover-commit': { base: 'cut-commit', before: 3, after: 3, go: start },
  rollback: { base: 'three', before: 2, after: 2, go: rollback },
  rebuild: { base: 'lost', before: 3, after: 3, go: rebuild },
  mend: { base: 'damaged', before: 3, after: 3, go: mend },
  adopt: { base: 'plain', before: 3, after: 3, go: adoptPublic },
};

/** A step of the work, with what it said when it failed. */
async function say<T>(complaints: string[], work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    complaints.push(describe(error));
    return null;
  }
}

function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? ` (${messageOf(error.cause)})` : '';
  return `${messageOf(error)}${cause}`;
}

/** An upload lies in the inbox: it is copied, verified and published. */
async function ingest(place: Place, gate: () => Promise<void>, number: number, spare: boolean): Promise<Report> {
  const indexes = indexesOf(place.uploads, number);
  const session = await Session.openQuiet(place.directory, place);
  await gate();
  session.start();
  const done = await session.untilRecorded(indexes);
  if (done && spare) await session.untilSpare();
  await say(session.complaints, () => session.close());
  return { done, complaints: session.complaints };
}

async function prune(place: Place, gate: () => Promise<void>): Promise<Report> {
  const session = await Session.openQuiet(place.directory, place);
  await gate();
  const pruned = await say(session.complaints, () => session.prune());
  await say(session.complaints, () => session.close());
  return { done: pruned !== null, complaints: session.complaints };
}

/** A start on what lies there, up to the upload in the inbox being served. */
async function start(place: Place, gate: () => Promise<void>): Promise<Report> {
  const indexes = indexesOf(place.uploads, 3);
  await gate();
  const complaints: string[] = [];
  const session = await say(complaints, () => Session.openQuiet(place.directory, place));
  if (session === null) return { done: false, complaints };
  session.start();
  const done = await session.untilRecorded(indexes);
  await say(session.complaints, () => session.close());
  return { done, complaints: session.complaints };
}

/** Back to the generation before the present one. */
async function rollback(place: Place, gate: () => Promise<void>): Promise<Report> {
  const session = await Session.openQuiet(place.directory, place);
  await gate();
  const { publisher, store, inbox: config, keyring } = session.parts;
  const done = await say(session.complaints, async () => {
    const prepared = await prepareRollback(
      { id: randomUUID(), target: 2, repository: null },
      {
        root: join(place.directory, 'srv'),
        store,
        archive: publisher.archive,
        verifier: place.verifier,
        reserveBytes: () => 0,
        clock: systemClock,
        inboxOf: () => ({ config, keyring }),
      },
    );
    let outcome: Parameters<typeof prepared.dispose>[0] = 'failed';
    try {
      if (prepared.batch === null) throw new Error(JSON.stringify(prepared.missing));
      await publisher.publish(prepared.batch);
      outcome = 'published';
    } finally {
      await prepared.dispose(outcome);
    }
    return true;
  });
  await say(session.complaints, () => session.close());
  return { done: done !== null, complaints: session.complaints };
}

/** The state is lost: it is told from the trees, then comes a start as usual. */
async function rebuild(place: Place, gate: () => Promise<void>): Promise<Report> {
  const indexes = indexesOf(place.uploads, 3);
  await gate();
  const complaints: string[] = [];
  const done = await say(complaints, async () => {
    const root = join(place.directory, 'srv');
    const config = await loadConfig(join(place.directory, 'lockstepd.yaml'), { env: {} });
    const keyring = await loadKeyring([join(place.directory, 'keys')]);
    const tell = (event: string, fields?: object): void =>
      void (event.startsWith('state_') && /unverified|missing/.test(event)
        ? complaints.push(`${event} ${JSON.stringify(fields)}`)
        : undefined);
    const log = { debug: () => {}, info: () => {}, warn: tell, error: tell };
    using store = openStore(config.state);
    const { verifier } = place;
    await rebuildFromTrees({
      config: { ...config, root },
      store,
      verifier,
      keyring: () => keyring,
      clock: systemClock,
      log,
    });
    return isRecorded(store, indexes);
  });
  return { done: done === true, complaints };
}

/** A damaged package is replaced by a good copy in every tree. */
async function mend(place: Place, gate: () => Promise<void>): Promise<Report> {
  const session = await Session.openQuiet(place.directory, place);
  const root = join(place.directory, 'srv');
  const { repository, file } = damagedFile;
  const good = join(root, 'ingest', 'good');
  await cp(join(place.uploads, '3', repository, file), good, { preserveTimestamps: true });
  const sha256 = hashOf(good) ?? '';
  const { store, publisher } = session.parts;
  await gate();
  const done = await say(session.complaints, async () => {
    const quarantine = join(root, 'quarantine', '1-scrub');
    const digest = async (path: string): Promise<string | null> => hashOf(path);
    const published = { kind: 'package', repository, file, sha256, size: 0, mtimeSeconds: 0 } as const;
    await publisher.exclusively(() => mendTrees({ root, store, file: published, good, digest, quarantine }));
    await rm(good);
    return true;
  });
  await say(session.complaints, () => session.close());
  return { done: done !== null, complaints: session.complaints };
}

/** The command, on a plain directory that is served so far. */
async function adoptPublic(place: Place, gate: () => Promise<void>): Promise<Report> {
  await gate();
  const said: string[] = [];
  const io = {
    out: () => {},
    err: (text: string) => void said.push(text),
    terminal: false,
    env: {},
    signal: new AbortController().signal,
  };
  const args = [join(place.directory, 'srv/public'), '--config', join(place.directory, 'lockstepd.yaml')];
  const code = await say(said, () => adopt.run(args, io));
  return { done: code === 0, complaints: said };
}
