/** What a configuration may say: the shape of the YAML document, its defaults, and the Config that the other rooms read. */
import { join, resolve } from 'node:path/posix';
import { z } from 'zod';
import type { LogLevel } from '../system/log.ts';
import { type AlgorithmName, algorithmNames } from '../trust/algorithms.ts';
import type { KeySource } from '../trust/keyring.ts';
import { type AnnounceConfig, announce, toAnnounce } from './announce-schema.ts';
import {
  describe,
  duration,
  type KeyProblem,
  listOf,
  mapping,
  oneOf,
  orAbsent,
  section,
  text,
  toProblems,
  wholeNumber,
} from './fields.ts';
import { keySources } from './keys-schema.ts';
import { type GuardSettings, guards, toGuards } from './guards-schema.ts';
import { type HookConfig, hooks, toHook } from './hooks-schema.ts';
import { type Limits, limits, toLimits } from './mirror-limits-schema.ts';
import { type MirrorConfig, mirror, type SchemaContext, toMirror } from './mirror-schema.ts';
import { absolutePath, name, plainPath } from './names.ts';
import {
  type QuarantineLimits,
  type Quotas,
  quarantine,
  quotas,
  reserve,
  size,
  toQuarantine,
  toQuotas,
} from './quota-schema.ts';
import { type ScrubSettings, scrub, toScrub } from './scrub-schema.ts';
import { type SwitchSettings, switching, toSwitch } from './switch-schema.ts';
import { parseTemplate, type Template, templateExample } from './template.ts';
import { cronExample, type Parsed, parseCron } from './units.ts';

/** A whole, valid configuration. Paths are absolute, times in milliseconds. */
export interface Config {
  /** The file that was read. */
  readonly file: string;
  readonly root: string;
  readonly state: string;
  /** The control socket. */
  readonly socket: string;
  /** Port 0 asks the system for a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Where only the public status page is; null: nowhere but below `listen`. */
  readonly listenPublic: Config['listen'] | null;
  /** Threads that verify. */
  readonly workers: number;
  readonly inboxes: readonly InboxConfig[];
  readonly publish: {
    readonly graceMs: number;
    readonly keepTreesForMs: number;
    readonly maxTrees: number;
    /** How long a mirror that is behind keeps a package on the primary at most. */
    readonly keepForMirrorsMs: number;
    readonly keepIndexesBytes: number;
    /** The name of this primary among those that feed the same mirrors; null: that of the host. */
    readonly primary: string | null;
  };
  /** Free space below root that no copy may use up, in bytes. */
  readonly reserveBytes: number;
  readonly quarantine: QuarantineLimits;
  readonly mirrors: readonly MirrorConfig[];
  readonly limits: Limits;
  readonly switch: SwitchSettings;
  /** MQTT brokers that are told of each generation. */
  readonly announce: readonly AnnounceConfig[];
  /** Programs that are run when something happens. */
  readonly hooks: readonly HookConfig[];
  readonly schedule: {
    readonly rescanMs: number;
    readonly probeMs: number;
    /** Five cron fields; null for never. */
    readonly scrub: string | null;
  };
  readonly scrub: ScrubSettings;
  readonly log: { readonly level: LogLevel };
  /** The document as it was written, for what a reload says of changes. */
  readonly written: unknown;
}

export interface InboxConfig {
  readonly builder: string;
  readonly path: string;
  /** `upstream`: another lockstepd pushes there what it publishes. */
  readonly fedBy: 'builder' | 'upstream';
  readonly repositories: readonly Template[];
  /** Directories of trusted public keys. */
  readonly keys: readonly KeySource[];
  /** Null: every algorithm that apk accepts. */
  readonly signatureAlgorithms: readonly AlgorithmName[] | null;
  readonly settleMs: number;
  readonly missingPackages: 'hold' | 'publish';
  readonly packageSignatures: 'require' | 'if-present' | 'ignore';
  readonly quotas: Quotas;
  /** `required`: every batch waits for a person; `if-held`: only what a guard holds. */
  readonly approval: 'if-held' | 'required';
  readonly guards: GuardSettings;
}

/** Turns the value of a YAML document into a Config, or says everything that is wrong with its shape at once. */
export function parseConfig(value: unknown, context: SchemaContext): Parsed<Config> | { problems: KeyProblem[] } {
  const result = document.safeParse(value);
  return result.success
    ? { value: { ...toConfig(result.data, context), written: value } }
    : { problems: result.error.issues.flatMap(toProblems) };
}

const listenExample = 'HOST:PORT such as 127.0.0.1:9617 or [::1]:9617';
function parseListen(written: string): Parsed<Config['listen']> {
  const [, bracketed, plain, digits = ''] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(written) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(digits) > 65_535) {
    return { problem: `${describe(written)}, expected ${listenExample}` };
  }
  return { value: { host, port: Number(digits) } };
}

/** sun_path of unix(7) holds 108 bytes, the last of which is NUL. */
export const maxSocketBytes = 107;

/** The socket where none is configured. */
export function socketIn(state: string): string {
  return join(state, 'lockstepd.sock');
}

const socketExample = `an absolute path of at most ${maxSocketBytes} bytes`;
function parseSocket(written: string): Parsed<string> {
  if (!written.startsWith('/') || Buffer.byteLength(written) > maxSocketBytes) {
    return { problem: `${describe(written)}, expected ${socketExample}` };
  }
  return plainPath(written);
}

const inbox = mapping('an inbox', {
  builder: name('a name'),
  path: text('a path below root', plainPath),
  fed_by: oneOf('builder', 'upstream').prefault('builder'),
  repositories: listOf('path templates', text(templateExample, parseTemplate), 1),
  keys: keySources,
  settle: duration('0', '1d').prefault('5s'),
  missing_packages: oneOf('hold', 'publish').prefault('hold'),
  package_signatures: oneOf('require', 'if-present', 'ignore').prefault('if-present'),
  signature_algorithms: listOf('signature algorithms', oneOf(...algorithmNames), 1).prefault([...algorithmNames]),
  quotas,
  approval: oneOf('if-held', 'required').prefault('if-held'),
  guards,
});

export const document = mapping('a configuration', {
  root: absolutePath(),
  state: absolutePath(),
  socket: text(socketExample, parseSocket).optional(),
  listen: text(listenExample, parseListen).prefault('127.0.0.1:9617'),
  listen_public: text(listenExample, parseListen).optional(),
  workers: wholeNumber(1, 16).prefault(1),
  inboxes: listOf('inboxes', inbox, 1),
  publish: section({
    grace: duration('0', '365d').prefault('48h'),
    keep_trees_for: duration('0', '30d').prefault('6h'),
    max_trees: wholeNumber(2, 64).prefault(4),
    keep_for_mirrors: duration('0', '365d').prefault('14d'),
    keep_indexes: size().prefault('1GiB'),
    primary: name('a name').optional(),
  }),
  guards,
  reserve,
  quarantine,
  mirrors: orAbsent([], listOf('mirrors', mirror, 0)),
  limits,
  switch: switching,
  announce: orAbsent([], listOf('brokers', announce, 0)),
  hooks: orAbsent([], hooks),
  schedule: section({
    rescan: duration('1s', '1d').prefault('60s'),
    probe: duration('1s', '1d').prefault('60s'),
    scrub: text(cronExample, parseCron).optional(),
  }),
  scrub,
  log: section({
    level: oneOf('debug', 'info', 'warn', 'error', 'silent').prefault('info'),
  }),
});

function toConfig(written: z.output<typeof document>, context: SchemaContext): Omit<Config, 'written'> {
  const { root, state, publish, schedule } = written;
  return {
    file: context.file,
    root,
    state,
    socket: written.socket ?? socketIn(state),
    listen: written.listen,
    listenPublic: written.listen_public ?? null,
    workers: written.workers,
    inboxes: written.inboxes.map((entry) => ({
      builder: entry.builder,
      path: resolve(root, entry.path),
      fedBy: entry.fed_by,
      repositories: entry.repositories,
      keys: entry.keys,
      settleMs: entry.settle,
      missingPackages: entry.missing_packages,
      packageSignatures: entry.package_signatures,
      // All of them is no limit.
      signatureAlgorithms: algorithmNames.every((algorithm) => entry.signature_algorithms.includes(algorithm))
        ? null
        : entry.signature_algorithms,
      quotas: toQuotas(entry.quotas),
      approval: entry.approval,
      guards: toGuards(written.guards, entry.guards),
    })),
    publish: {
      graceMs: publish.grace,
      keepTreesForMs: publish.keep_trees_for,
      maxTrees: publish.max_trees,
      keepForMirrorsMs: publish.keep_for_mirrors,
      keepIndexesBytes: publish.keep_indexes,
      primary: publish.primary ?? null,
    },
    reserveBytes: written.reserve,
    quarantine: toQuarantine(written.quarantine),
    mirrors: written.mirrors.map((entry) => toMirror(entry, context)),
    limits: toLimits(written.limits),
    switch: toSwitch(written.switch),
    announce: written.announce.map((entry) => toAnnounce(entry, publish.primary ?? null, context)),
    hooks: written.hooks.map(toHook),
    schedule: { rescanMs: schedule.rescan, probeMs: schedule.probe, scrub: schedule.scrub ?? null },
    scrub: toScrub(written.scrub),
    log: { level: written.log.level },
  };
}
