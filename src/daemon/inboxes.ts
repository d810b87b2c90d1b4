/** Puts together what watches over one inbox: the service, a watcher of its own, and what both tell the metrics. */
import type { Config, InboxConfig } from '../config/schema.ts';
import { matchesAny } from '../config/template.ts';
import type { IngestDeps } from '../ingest/ports.ts';
import { InboxService } from '../ingest/service.ts';
import type { UpstreamStatement } from '../ingest/upstream.ts';
import { IndexWatcher } from '../ingest/watch.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Keyring } from '../trust/keyring.ts';

export interface InboxParts {
  readonly config: InboxConfig;
  readonly service: InboxService;
  /** One for each inbox: the events of one builder must not drown those of another. */
  readonly watcher: IndexWatcher;
}

/** What the upstreams among these say, by the name of their inbox. */
export function upstreamsOf(inboxes: Iterable<InboxParts>): ReadonlyMap<string, UpstreamStatement | null> {
  const fed = [...inboxes].filter(({ config }) => config.fedBy === 'upstream');
  return new Map(fed.map(({ config, service }) => [config.builder, service.upstream]));
}

export interface InboxesDeps
  extends Pick<IngestDeps, 'store' | 'verifier' | 'quarantine' | 'publish' | 'clock' | 'log'> {
  readonly keys: { keyring(builder: string): Keyring };
  /** The configuration as it is now. */
  readonly config: () => Config;
}

/** What the service of one inbox is given; a change of what is copied here restarts it, see reload.ts. */
export function ingestDeps({ builder }: InboxConfig, deps: InboxesDeps): Omit<IngestDeps, 'events'> {
  const { keys, config, ...common } = deps;
  const { root, reserveBytes, schedule } = config();
  return {
    ...common,
    root,
    reserveBytes,
    rescanMs: schedule.rescanMs,
    isOfAnother: (path) => config().inboxes.some((i) => i.builder !== builder && matchesAny(i.repositories, path)),
    keyring: () => keys.keyring(builder),
  };
}

export function createInbox(config: InboxConfig, deps: Omit<IngestDeps, 'events'>, metrics: Metrics): InboxParts {
  const { clock, log } = deps;
  const watcher = new IndexWatcher({ onChange: () => service.wake(), clock, log });
  const events: IngestDeps['events'] = {
    batchEnded: (builder, state, reasons) =>
      metrics.batchEnded(
        builder,
        state,
        reasons.map((r) => r.code),
      ),
    stage: (stage, seconds) => metrics.stage(stage, seconds),
    rescanFound: (count) => metrics.rescanFound(count),
    watch: (paths) => watcher.watch(paths),
  };
  const service = new InboxService(config, { ...deps, events });
  return { config, service, watcher };
}
