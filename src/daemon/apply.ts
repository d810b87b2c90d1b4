/** Applies what a reload has decided to the running parts of the daemon. Whatever cannot be done now is done later: it does not stop half-way. */
import type { Config, InboxConfig } from '../config/schema.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Store } from '../store/store.ts';
import type { Announcers } from './announcers.ts';
import { forgetBuilders } from './builders.ts';
import { targetsOf } from './facts.ts';
import type { Fleet } from './fleet.ts';
import type { Hooks } from './hooks.ts';
import type { InboxParts } from './inboxes.ts';
import type { KeyKeeper } from './keys.ts';
import type { ReloadPlan } from './reload.ts';
import type { ScrubService } from './scrub.ts';
import type { Supervisor } from './supervisor.ts';
import type { Unfinished } from './unfinished.ts';

export interface RunningParts {
  /** What the daemon runs with so far. */
  readonly config: Config;
  readonly supervisor: Supervisor;
  readonly inboxes: Map<string, InboxParts>;
  readonly fleet: Fleet;
  readonly keys: KeyKeeper;
  readonly metrics: Metrics;
  readonly announcers: Announcers;
  readonly hooks: Hooks;
  readonly scrub: ScrubService;
  readonly store: Store;
  /** From now on the daemon runs with this configuration. */
  readonly use: (config: Config) => void;
  readonly startInbox: (inbox: InboxConfig) => void;
}

export async function applyReload(
  { stop, config }: ReloadPlan,
  parts: RunningParts,
  unfinished: Unfinished,
): Promise<void> {
  const { supervisor, inboxes, fleet, scrub, store } = parts;
  const { inboxes: before, schedule } = parts.config;
  await supervisor.stop((name) => stop.has(name) || name === 'scrub-schedule');
  for (const [builder, { watcher }] of inboxes) {
    if (!stop.has(`inbox:${builder}`)) continue;
    await watcher[Symbol.asyncDispose]();
    inboxes.delete(builder);
  }
  parts.use(config);
  fleet.reconfigure((service) => stop.has(service));
  if (schedule.probeMs !== config.schedule.probeMs) fleet.wakeProbes();
  await parts.keys.configure(config);
  parts.metrics.setTargets(targetsOf(config));
  await unfinished.do('mirrors', () => fleet.start());
  for (const inbox of config.inboxes) if (!inboxes.has(inbox.builder)) parts.startInbox(inbox);
  await unfinished.do('announce', () => parts.announcers.configure(config.announce));
  await unfinished.do('hooks', () => parts.hooks.configure(config));
  supervisor.start('scrub-schedule', (signal) => scrub.schedule(signal));
  for (const { service } of inboxes.values()) service.wake();
  await unfinished.do('batches of other builders', () => forgetBuilders(config, before, store.batches));
}
