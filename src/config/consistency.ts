/** Which parts of a configuration contradict each other; works on what is readable, so that it also helps with a broken file. */
import { isAbsolute, join, relative, resolve } from 'node:path/posix';
import { z } from 'zod';
import { announceWarnings } from './announce-schema.ts';
import type { KeyProblem } from './fields.ts';
import { keyDirectories } from './keys-schema.ts';
import { serviceCredentials } from './identity.ts';
import type { TransportConfig } from './mirror-schema.ts';
import { type Config, maxSocketBytes } from './schema.ts';
import { parseTemplate, type Template, templatesOverlap } from './template.ts';

const readable = z.string().optional().catch(undefined);
const absolute = readable.transform((path) => (path !== undefined && isAbsolute(path) ? resolve(path) : undefined));
const listOfReadable = <T extends z.ZodType>(item: T) => z.array(item).catch([]);
/** Anything that is no mapping counts as an empty one. */
const partOf = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.preprocess((value) => (typeof value === 'object' && !Array.isArray(value) && value ? value : {}), z.object(shape));

const outline = partOf({
  root: absolute,
  state: absolute,
  socket: readable,
  inboxes: listOfReadable(
    partOf({
      builder: readable,
      path: readable,
      keys: z.unknown().transform(keyDirectories),
      repositories: listOfReadable(readable),
    }),
  ),
  mirrors: listOfReadable(
    partOf({
      name: readable,
      transport: partOf({ type: readable, path: readable, identity: readable, config: readable }),
    }),
  ),
  announce: listOfReadable(partOf({ name: readable, password: readable, ca: readable })),
  hooks: listOfReadable(partOf({ name: readable, command: listOfReadable(readable) })),
});

/** The parts of a configuration that are compared with each other and with the disk; what cannot be read is undefined. */
export type Outline = z.output<typeof outline>;

export function outlineOf(value: unknown): Outline {
  return outline.parse(value);
}

/** The directories of the daemon below root; no inbox may lie there. */
const ownDirectories = ['indexes', 'ingest', 'public', 'quarantine', 'trees'];

type Path = KeyProblem['path'];

/** Everything in which the parts contradict each other. */
export function contradictions(parts: Outline): KeyProblem[] {
  return [
    ...repeated(
      parts.inboxes.map((inbox) => inbox.builder),
      'inboxes',
      'builder',
    ),
    ...repeated(
      parts.mirrors.map((mirror) => mirror.name),
      'mirrors',
      'name',
    ),
    ...repeated(
      parts.announce.map((broker) => broker.name),
      'announce',
      'name',
    ),
    ...repeated(
      parts.hooks.map((hook) => hook.name),
      'hooks',
      'name',
    ),
    ...stateProblems(parts),
    ...inboxProblems(parts),
    ...repositoryProblems(parts),
    ...directoryProblems(parts),
  ];
}

/** What is allowed and yet deserves a look, one line each. `outsideService`: credentials were not looked at. */
export function warningsOf(config: Config, outsideService: boolean): string[] {
  const { host } = config.listen;
  const loopback = host === 'localhost' || host === '::1' || host.startsWith('127.');
  const handedOver = config.mirrors.flatMap(({ name, transport }) =>
    secretOf(transport)?.startsWith(`${serviceCredentials}/`)
      ? [`mirror ${name}: ${secretOf(transport)} was not looked at: systemd hands it over when the service starts`]
      : [],
  );
  return [
    ...(loopback
      ? []
      : [`listen: ${host} is no loopback address: whoever reaches it reads the status page and the metrics`]),
    ...(outsideService ? handedOver : []),
    ...config.mirrors.flatMap(({ name, transport, url }) =>
      transport.type === 'rsync' && url === null
        ? [
            `mirror ${name}: nobody can see what it holds while its account may only write: give its url, or let the account read`,
          ]
        : [],
    ),
    ...config.mirrors.flatMap(({ name, transport, url }) =>
      transport.type === 'rclone' && url === null && config.publish.primary !== null
        ? [
            `mirror ${name}: nothing tells what another primary has brought there, and older indexes may replace its: give its url`,
          ]
        : [],
    ),
    ...config.mirrors.flatMap(({ name, takeoverAfterMs }) =>
      takeoverAfterMs !== null && config.publish.primary === null
        ? [
            `mirror ${name}: takeover_after without publish.primary: this primary goes by the name of its host, and where the first one has the same name it is not seen to work again: give each its own publish.primary`,
          ]
        : [],
    ),
    ...sharedAccounts(config),
    ...announceWarnings(config.announce, outsideService),
  ];
}

/** Two mirrors in one place: they push, prune and compare there twice, and tell twice what users get. */
function sharedAccounts({ mirrors }: Config): string[] {
  const first = new Map<string, string>();
  return mirrors.flatMap(({ name, transport }) => {
    const place = placeOf(transport);
    const other = place === null ? undefined : first.get(place);
    if (place !== null && other === undefined) first.set(place, name);
    return other === undefined
      ? []
      : [`mirror ${name}: it is the same account and place as mirror ${other}: keep one of them`];
  });
}

/** Null where nobody logs in, or where contradictions() tells. The key counts: at its other end a directory hangs on it. */
function placeOf(transport: TransportConfig): string | null {
  if (transport.type === 'rclone') return JSON.stringify(['rclone', transport.remote, transport.configFile]);
  if (!('host' in transport)) return null;
  const { type, host, port, user, identity } = transport;
  return JSON.stringify([type, host, port, user, identity, 'path' in transport ? transport.path : null]);
}

/** The file of the transport that holds a secret. */
function secretOf(transport: TransportConfig): string | undefined {
  return 'identity' in transport ? transport.identity : 'configFile' in transport ? transport.configFile : undefined;
}

function problem(path: Path, message: string): KeyProblem {
  return { path, on: 'value', message };
}

function repeated(names: readonly (string | undefined)[], list: string, key: string): KeyProblem[] {
  return names.flatMap((name, index) => {
    const first = names.indexOf(name);
    if (name === undefined || first === index) return [];
    return [problem([list, index, key], `${JSON.stringify(name)} is also ${list}[${first}], expected another name`)];
  });
}

function stateProblems({ root, state, socket }: Outline): KeyProblem[] {
  const found: KeyProblem[] = [];
  if (state !== undefined && socket === undefined) {
    const length = Buffer.byteLength(join(state, 'lockstepd.sock'));
    if (length > maxSocketBytes) {
      const message = `missing, and ${state}/lockstepd.sock has ${length} bytes, expected a path of at most ${maxSocketBytes} bytes`;
      found.push(problem(['socket'], message));
    }
  }
  if (root === undefined || state === undefined) return found;
  if (root === state) found.push(problem(['state'], `${state} is root, expected a directory of its own`));
  else if (isWithin(root, state))
    found.push(problem(['state'], `${state} contains root, expected a directory beside it`));
  const own = ownDirectories.find((name) => isWithin(state, join(root, name)));
  if (own !== undefined)
    found.push(problem(['state'], `${state} is in ${join(root, own)}, expected a directory beside it`));
  return found;
}

function inboxProblems({ root, state, inboxes }: Outline): KeyProblem[] {
  if (root === undefined) return [];
  const found: KeyProblem[] = [];
  const paths = inboxes.map(({ path }) => (path === undefined ? undefined : resolve(root, path)));
  for (const [index, path] of paths.entries()) {
    if (path === undefined) continue;
    const at = ['inboxes', index, 'path'];
    const own = ownDirectories.find((name) => overlap(path, join(root, name)));
    if (path === root || !isWithin(path, root))
      found.push(problem(at, `${path} is not below root, expected a path below ${root}`));
    else if (own !== undefined)
      found.push(problem(at, `${path} is lockstepd's own directory, expected another such as inbox/NAME`));
    const other = paths.findIndex((earlier, i) => i < index && earlier !== undefined && overlap(path, earlier));
    if (other >= 0) {
      const relation = path === paths[other] ? 'the same directory as' : 'nested with';
      found.push(problem(at, `${path} is ${relation} that of inboxes[${other}], expected a directory of its own`));
    }
    if (state !== undefined && isWithin(state, path))
      found.push(problem(at, `${path} contains state, expected a directory beside it`));
  }
  for (const [index, { keys }] of inboxes.entries()) {
    for (const { at, directory } of keys) {
      const open = paths.findIndex((path) => path !== undefined && isWithin(directory, path));
      if (open < 0) continue;
      const message = `${directory} lies in the inbox of inboxes[${open}], expected a directory that no builder can write to`;
      found.push(problem(['inboxes', index, 'keys', ...at], message));
    }
  }
  return found;
}

/** No path may be claimed by two builders: each would undo what the other published. */
function repositoryProblems({ inboxes }: Outline): KeyProblem[] {
  const claims: { template: Template; inbox: number; index: number }[] = [];
  const found: KeyProblem[] = [];
  for (const [inbox, { repositories }] of inboxes.entries()) {
    for (const [index, text] of repositories.entries()) {
      const parsed = parseTemplate(text ?? '');
      if (!('value' in parsed)) continue;
      const template = parsed.value;
      const other = claims.find((claim) => claim.inbox !== inbox && templatesOverlap(claim.template, template));
      claims.push({ template, inbox, index });
      if (other === undefined) continue;
      const theirs = `inboxes[${other.inbox}].repositories[${other.index}] (${other.template.text})`;
      const message = `${template.text} and ${theirs} match the same paths, expected each repository in one inbox`;
      found.push(problem(['inboxes', inbox, 'repositories', index], message));
    }
  }
  return found;
}

function directoryProblems({ root, state, mirrors }: Outline): KeyProblem[] {
  const paths = mirrors.map(({ transport: { type, path } }) =>
    type === 'directory' && path !== undefined && isAbsolute(path) ? resolve(path) : undefined,
  );
  return paths.flatMap((path, index) => {
    if (path === undefined) return [];
    const ours = [root, state].find((own) => own !== undefined && overlap(path, own));
    const other = paths.findIndex((earlier, i) => i < index && earlier !== undefined && overlap(path, earlier));
    const at = ['mirrors', index, 'transport', 'path'];
    if (ours !== undefined)
      return [problem(at, `${path} and ${ours} are nested, expected a directory apart from root and state`)];
    if (other < 0) return [];
    return [problem(at, `${path} and the directory of mirrors[${other}] are nested, expected a directory of its own`)];
  });
}

/** True when `path` is `directory` or lies below it. */
function isWithin(path: string, directory: string): boolean {
  const way = relative(directory, path);
  return way !== '..' && !way.startsWith('../');
}

function overlap(a: string, b: string): boolean {
  return isWithin(a, b) || isWithin(b, a);
}
