/** The next clean start after a fault: what must be recorded is, the work is finished, and nothing of ours is left about. */
import { join } from 'node:path';
import { openStore } from '../../src/store/store.ts';
import { leftovers } from './judge.ts';
import { damagedFile, type Place, type SceneName, scenes } from './scenes.ts';
import { indexesOf, isRecorded, Session, violation } from './session.ts';

/** What is wrong, first what lies there now, then what a start makes of it. `done`: the work was said to be done. */
export async function again(name: SceneName, place: Place, done: boolean): Promise<string[]> {
  const violations: string[] = [];
  const { directory, uploads } = place;
  const { before, after } = scenes[name];
  const found = (when: string, what: string | null): void =>
    void (what !== null && violations.push(`${when}: ${what}`));
  const damaged = name === 'mend' && !done ? `${damagedFile.repository}/${damagedFile.file}` : undefined;
  found('after the fault', violation(directory, done ? after : before, uploads, damaged));
  try {
    if (done) found('recorded', recorded(place, after));
    await restart(name, place, found);
    found('after a restart', violation(directory, after, uploads));
    for (const path of leftovers(directory, after, uploads)) found('left over', path);
    found('in the end', recorded(place, after));
  } catch (error) {
    violations.push(`cannot restart: ${String(error)}`);
  }
  return violations;
}

/** What the store says once it is opened anew: nothing that was committed may be lost. */
function recorded({ directory, uploads }: Place, number: number): string | null {
  using store = openStore(join(directory, 'state'));
  if (isRecorded(store, indexesOf(uploads, number))) return null;
  return `generation ${store.generations.current()?.number} is not upload ${number}`;
}

type Found = (when: string, what: string | null) => void;

async function restart(name: SceneName, place: Place, found: Found): Promise<void> {
  const { directory, uploads } = place;
  const scene = scenes[name];
  const { after } = scene;
  // What an operator asks for is asked for again; what the daemon does by itself it must do by itself.
  if (name === 'rollback') await (await Session.openQuiet(directory, place)).close();
  if (['rebuild', 'mend', 'adopt'].includes(name) || (name === 'rollback' && recorded(place, after) !== null)) {
    const { done, complaints } = await scene.go(place, async () => {});
    if (!done) found('tried again', complaints.join(' '));
  }
  const session = await Session.openQuiet(directory, place);
  try {
    if (name !== 'rollback') {
      session.start();
      if (!(await session.untilServed(directory, after, uploads))) found('not done', session.complaints.join(' '));
    }
    await session.prune();
  } finally {
    await session.close();
  }
  // The private copies of a batch are taken away some time after it, or by the next start.
  await (await Session.openQuiet(directory, place)).close();
}
