/** Whether the daemon runs or could start: its socket, its port, its systemd unit. Pure. */
import { fail, type Finding, ok, warn } from './finding.ts';

export interface ServiceFacts {
  readonly socket: {
    readonly path: string;
    /** `silent`: a file of a daemon that has died. `unseen`: this user may not see whether one runs. */
    readonly state: 'answers' | 'absent' | 'silent' | 'unseen' | 'other';
    /** What a daemon that answers serves. */
    readonly generation: number | null;
  };
  readonly port: {
    readonly host: string;
    readonly port: number;
    /** `metrics`: something answers as lockstepd does. */
    readonly state: 'free' | 'metrics' | 'taken' | 'no-address' | 'unknown';
  };
  /** Null: no systemd runs here. */
  readonly systemd: {
    /** The unit file that counts; null: none is installed. */
    readonly unit: { readonly path: string; readonly text: string } | null;
    readonly dropIns: readonly { readonly path: string; readonly text: string }[];
    /** What this version brings; null: it lies nowhere here. */
    readonly shipped: string | null;
    readonly enabled: boolean | null;
  } | null;
  /** Paths that the daemon must be able to write. */
  readonly writes: readonly string[];
  /** Credentials that the configuration names. */
  readonly credentials: readonly string[];
}

export function judgeService(facts: ServiceFacts): Finding[] {
  return [judgeSocket(facts), judgePort(facts), ...judgeSystemd(facts)];
}

const start = 'systemctl start lockstepd; why one has ended is in journalctl -u lockstepd';

function judgeSocket({ socket }: ServiceFacts): Finding {
  const what = `socket ${socket.path}`;
  switch (socket.state) {
    case 'answers':
      return ok(
        what,
        socket.generation
          ? `the daemon serves generation ${socket.generation}`
          : 'the daemon answers, nothing is published yet',
      );
    case 'absent':
      return warn(what, 'no daemon runs', start);
    case 'silent':
      return warn(what, 'no daemon runs, the file of the last one is left', start);
    case 'unseen':
      return warn(what, 'this user may not ask the daemon', 'run lockstepd doctor as root or as a member of its group');
    case 'other':
      return fail(what, 'something else than a daemon is there', 'move it away, or choose another socket');
    default:
      return socket.state satisfies never;
  }
}

function judgePort({ port: { host, port, state }, socket }: ServiceFacts): Finding {
  const what = `listen ${host}:${port}`;
  if (port === 0) return ok(what, 'any free port');
  const other = 'find it with ss -ltnp, or choose another port (listen:)';
  switch (state) {
    case 'free':
      return socket.state === 'answers'
        ? warn(what, 'the daemon runs and nothing listens there', 'was listen: changed? A restart takes it over')
        : ok(what, 'free');
    case 'metrics':
      return socket.state === 'answers' || socket.state === 'unseen'
        ? ok(what, 'a lockstepd listens')
        : fail(what, 'another lockstepd listens there', other);
    case 'taken':
      return fail(what, 'another program listens there', other);
    case 'no-address':
      return fail(what, 'no interface of this host has that address', 'mend listen: in the configuration');
    case 'unknown':
      return warn(what, 'cannot be tried', 'see the log at the next start');
    default:
      return state satisfies never;
  }
}

function judgeSystemd({ systemd, writes, credentials }: ServiceFacts): Finding[] {
  const what = 'systemd unit';
  if (systemd === null) return [ok(what, 'no systemd runs here')];
  const { unit, dropIns, shipped, enabled } = systemd;
  if (unit === null)
    return [
      warn(what, 'lockstepd.service is not installed', 'install systemd/lockstepd.service, systemctl daemon-reload'),
    ];
  const text = [unit, ...dropIns].map((file) => file.text).join('\n');
  const same = shipped === null || settingsOf(shipped) === settingsOf(unit.text);
  return [
    same
      ? ok(what, unit.path)
      : warn(
          what,
          `${unit.path} is not the one of this version`,
          'install systemd/lockstepd.service anew; put changes of your own into a drop-in (systemctl edit lockstepd)',
        ),
    ...(enabled === false ? [warn(what, 'does not start with the system', 'systemctl enable lockstepd')] : []),
    ...judgeSandbox(text, writes),
    ...credentials
      .filter((name) => !valuesOf(text, /LoadCredential(?:Encrypted)?/).some((value) => value.startsWith(`${name}:`)))
      .map((name) =>
        fail(
          what,
          `hands over no credential ${name}`,
          `systemctl edit lockstepd: LoadCredential=${name}:FILE below [Service]`,
        ),
      ),
  ];
}

function judgeSandbox(text: string, writes: readonly string[]): Finding[] {
  if (valuesOf(text, /ProtectSystem/).at(-1) !== 'strict') return [];
  const state = valuesOf(text, /StateDirectory/).map((name) => `/var/lib/${name}`);
  const open = [...valuesOf(text, /ReadWritePaths/).map((path) => path.replace(/^[-+]+/, '')), ...state];
  return writes
    .filter((path) => !open.some((one) => path === one || path.startsWith(`${one.replace(/\/$/, '')}/`)))
    .map((path) =>
      fail(
        'systemd sandbox',
        `does not let the daemon write below ${path}`,
        `systemctl edit lockstepd: ReadWritePaths=${path} below [Service]`,
      ),
    );
}

/** The words of a setting in all its lines; an empty assignment forgets those before it: systemd.exec(5). */
function valuesOf(text: string, key: RegExp): string[] {
  const found: string[] = [];
  for (const [, name = '', value = ''] of text.matchAll(/^([A-Za-z]+)=(.*)$/gm)) {
    if (!new RegExp(`^(?:${key.source})$`).test(name)) continue;
    if (value.trim() === '') found.length = 0;
    found.push(...value.split(/\s+/).filter((word) => word !== ''));
  }
  return found;
}

/** A unit without its comments and blank lines. */
function settingsOf(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^[#;]/.test(line))
    .join('\n');
}
