/** The forecast of handles against a model of a server that answers late, and against OpenSSH's own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import test from 'node:test';
import { array, assert as check, constantFrom, property } from 'fast-check';
import { SftpSession } from '../../src/system/ssh-sftp.ts';
import { HandleForecast } from '../../src/system/ssh-sftp-handles.ts';
import { openFlag, uint32 } from '../../src/system/ssh-sftp-wire.ts';
import { findProgram } from '../support/sshd.ts';

/** A client and a server with answers under way between them; the server keeps its handles as OpenSSH does. */
class Pair {
  readonly forecast = new HandleForecast();
  readonly #free: number[] = [];
  #fresh = 0;
  /** Handles that the client may close: those of which it knows. */
  readonly held: Buffer[] = [];
  readonly #answers: (() => void)[] = [];
  /** Forecasts that were made, and what the server gave; undefined where it refused. */
  readonly made: { readonly foretold: Buffer; readonly given: number | undefined }[] = [];
  refusals = 0;

  open(isGranted: boolean): void {
    const foretold = this.forecast.next();
    const step = this.forecast.opening();
    const given = isGranted ? (this.#free.pop() ?? this.#fresh++) : undefined;
    if (foretold) this.made.push({ foretold, given });
    if (given === undefined) this.refusals += 1;
    this.#answers.push(() => {
      if (given === undefined) {
        this.forecast.refused(step);
      } else {
        this.forecast.opened(step, uint32(given));
        this.held.push(uint32(given));
      }
    });
  }

  close(): void {
    const handle = this.held.pop();
    if (!handle) return;
    const step = this.forecast.closing(handle);
    this.#free.push(handle.readUInt32BE());
    this.#answers.push(() => this.forecast.closed(step));
  }

  hear(): void {
    this.#answers.shift()?.();
  }

  hearAll(): void {
    for (const answer of this.#answers.splice(0)) answer();
  }
}

const play = (pair: Pair, steps: readonly ('open' | 'refused' | 'close' | 'hear' | 'hear all')[]): void => {
  for (const step of steps) {
    if (step === 'open' || step === 'refused') pair.open(step === 'open');
    else if (step === 'close') pair.close();
    else if (step === 'hear') pair.hear();
    else pair.hearAll();
  }
};

test('every forecast is right as long as nothing is refused', () => {
  let made = 0;
  check(
    property(
      array(constantFrom('open', 'open', 'close', 'hear', 'hear all'), { maxLength: 60, size: 'max' }),
      (steps) => {
        const pair = new Pair();
        play(pair, ['open', 'hear', ...steps]);
        for (const { foretold, given } of pair.made) assert.equal(foretold.readUInt32BE(), given);
        made += pair.made.length;
      },
    ),
  );
  assert.ok(made > 100, 'forecasts were made');
});

test('after refusals the forecast is right again as soon as every answer is there', () => {
  let made = 0;
  check(
    property(
      array(constantFrom('open', 'open', 'close', 'refused', 'hear', 'hear all'), { maxLength: 60, size: 'max' }),
      (steps) => {
        const pair = new Pair();
        play(pair, ['open', 'hear', ...steps, 'hear all']);
        const before = pair.made.length;
        assert.ok(pair.forecast.next(), 'it is made again');
        play(pair, ['open', 'open', 'close', 'open', 'hear all', 'close', 'close', 'open']);
        for (const { foretold, given } of pair.made.slice(before)) assert.equal(foretold.readUInt32BE(), given);
        made += pair.refusals;
      },
    ),
  );
  assert.ok(made > 100, 'there were refusals');
});

test('nothing is foretold before the first answer, behind a refusal, or of a server that gave another', () => {
  const forecast = new HandleForecast();
  const [first, second] = [forecast.opening(), forecast.opening()];
  assert.equal(forecast.next(), undefined);
  forecast.opened(first, uint32(0));
  assert.deepEqual(forecast.next(), uint32(2));
  const third = forecast.opening();
  forecast.refused(second);
  assert.equal(forecast.next(), undefined, 'the third is not where it was thought');
  forecast.opened(third, uint32(1));
  assert.deepEqual(forecast.next(), uint32(2));
  forecast.opened(forecast.opening(), uint32(7));
  assert.equal(forecast.next(), undefined);
});

test('answers out of order, and handles that are no numbers, end it', () => {
  const [mixed, named] = [new HandleForecast(), new HandleForecast()];
  mixed.opened(mixed.opening(), uint32(0));
  const [one, two] = [mixed.opening(), mixed.opening()];
  mixed.opened(two, uint32(1));
  mixed.opened(one, uint32(2));
  assert.equal(mixed.next(), undefined);
  named.opened(named.opening(), Buffer.from('file 0'));
  assert.equal(named.next(), undefined);
});

test('the server of OpenSSH gives the handles that are foretold', async (t) => {
  const program = findProgram('sftp-server', '/usr/lib/openssh:/usr/libexec/openssh:/usr/lib/ssh');
  if (program === undefined) {
    t.skip('sftp-server absent');
    return;
  }
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => child.kill());
  const home = mkdtempSync(join(tmpdir(), 'lockstepd-handles-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const channel = Duplex.from({ readable: child.stdout, writable: child.stdin });
  const options = { together: (write: () => void) => write(), reasonOfLoss: () => new Error('lost') };
  const session = await SftpSession.open(channel, options);
  const flags = openFlag.write | openFlag.create;
  await session.close(await session.open(join(home, 'first'), flags, 0o644));
  let made = 0;
  for (let round = 0; round < 5; round++) {
    const open = Array.from({ length: 6 }, (_, n) => session.openForetold(join(home, `${n}`), flags, 0o644));
    const directory = session.openDirectory(home);
    const closing = open.slice(round).map(({ handle }) => session.close(handle));
    const more = Array.from({ length: 3 }, (_, n) => session.openForetold(join(home, `more${n}`), flags, 0o644));
    await Promise.all([...open, ...more].map(({ opened }) => opened));
    await Promise.all(closing);
    await session.close(await directory);
    await assert.rejects(session.open(join(home, 'no', 'such'), flags, 0o644), /[Nn]o such/);
    made += open.length + more.length;
    await Promise.all([...open.slice(0, round), ...more].map(({ handle }) => session.close(handle)));
  }
  assert.equal(made, 45);
  session.end();
  await once(child, 'close');
});
