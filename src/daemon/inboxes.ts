/** Puts together what watches over one inbox: the service, a watcher of its own, and what both tell the metrics. */
import type { InboxConfig } from '../config/schema.ts';
import type { IngestDeps } from '../ingest/ports.ts';
import { InboxService } from '../ingest/service.ts';
import type { UpstreamStatement } from '../ingest/upstream.ts';
import { IndexWatcher } from '../ingest/watch.ts';
import type { Metrics } from '../observe/metrics.ts';

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
