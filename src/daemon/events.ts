/** Tells the metrics and the watcher what the ingest of an inbox says. */
import type { IngestDeps } from '../ingest/ports.ts';
import type { IndexWatcher } from '../ingest/watch.ts';
import type { Metrics } from '../observe/metrics.ts';

export function ingestEvents(metrics: Metrics, watcher: IndexWatcher): IngestDeps['events'] {
  return {
    batchEnded: (builder, state, reasons) => {
      const codes = reasons.map((reason) => reason.code);
      metrics.batchEnded(builder, state, codes);
    },
    stage: (stage, seconds) => metrics.stage(stage, seconds),
    rescanFound: (count) => metrics.rescanFound(count),
    watch: (paths) => watcher.add(paths),
  };
}
