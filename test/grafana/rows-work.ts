/** The rows about the work: batches, pushes, what waits, what is wrong with content, the daemon itself. */
import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard';
import { breakerWords } from './mirror-table.ts';
import { bars, chosen, lines, quantile, states, words } from './panels.ts';

export function batches(board: DashboardBuilder): void {
  board
    .withRow(new RowBuilder('Batches'))
    .withPanel(
      bars({ title: 'Batches by outcome', description: 'How uploads ended.', width: 8 }, [
        ['sum by (outcome) (increase(lockstep_batches_total[$__rate_interval]))', '{{outcome}}'],
      ]),
    )
    .withPanel(
      bars({ title: 'Held or rejected, by reason', description: 'Why uploads were not published.', width: 8 }, [
        ['sum by (reason) (increase(lockstep_batch_rejections_total[$__rate_interval])) > 0', '{{reason}}'],
      ]),
    )
    .withPanel(
      lines(
        {
          title: 'Time in each stage (95 %)',
          description: 'From the end of the upload to published: settle, copy, verify, publish.',
          width: 8,
        },
        [[quantile(0.95, 'stage', 'lockstep_stage_seconds_bucket'), '{{stage}}']],
        { unit: 's' },
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Batches that wait',
          description: 'For the rest of their upload (waiting) or a person (held).',
          width: 12,
        },
        [['sum by (builder, state) (lockstep_batches_pending)', '{{builder}} {{state}}']],
        { steps: true, decimals: 0 },
      ),
    )
    .withPanel(
      lines(
        { title: 'Packages published', description: 'Packages that the ten largest indexes name.', width: 12 },
        [['topk(10, max by (repository) (lockstep_index_packages))', '{{repository}}']],
        { steps: true, decimals: 0 },
      ),
    );
}

export function pushes(board: DashboardBuilder): void {
  board
    .withRow(new RowBuilder('Pushes'))
    .withPanel(
      bars(
        {
          title: 'Push failures by reason',
          description: "Failed attempts; the mirror's line in `lockstepd status` has the message.",
          width: 12,
        },
        [[`sum by (reason) (increase(lockstep_push_failures_total{${chosen}}[$__rate_interval])) > 0`, '{{reason}}']],
      ),
    )
    .withPanel(
      bars({ title: 'Push attempts by outcome', description: 'Attempts of all mirrors.', width: 12 }, [
        [`sum by (outcome) (increase(lockstep_push_attempts_total{${chosen}}[$__rate_interval]))`, '{{outcome}}'],
      ]),
    )
    .withPanel(
      lines(
        { title: 'Bytes pushed', description: 'Payload sent to each mirror.', width: 12 },
        [[`sum by (mirror) (rate(lockstep_push_bytes_total{${chosen}}[$__rate_interval]))`, '{{mirror}}']],
        { unit: 'Bps', stacked: true },
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Probe duration',
          description: "How long it took to fetch what changed of the mirror's indexes.",
          width: 12,
        },
        [[`max by (mirror) (lockstep_probe_duration_seconds{${chosen}})`, '{{mirror}}']],
        { unit: 's' },
      ),
    );
}

export function waiting(board: DashboardBuilder): void {
  board
    .withRow(new RowBuilder('Mirrors that wait for something'))
    .withPanel(
      states(
        {
          title: 'Breakers',
          description:
            'Open: after five failures in a row a mirror is asked for a sign of life before the next push. A blocked mirror is open too.',
          width: 8,
        },
        [[`max by (mirror) (lockstep_mirror_breaker_state{${chosen}})`, '{{mirror}}']],
        breakerWords,
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Generations that brokers were not told of',
          description: 'Mirrors that wait for an MQTT message hear nothing of these.',
          width: 8,
        },
        [
          [
            'max by (broker) (scalar(max(lockstep_published_generation)) - lockstep_announced_generation)',
            '{{broker}}',
          ],
        ],
        { steps: true, decimals: 0 },
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Clocks of mirrors',
          description: "Each mirror's clock minus ours. Nothing is computed from it.",
          width: 8,
        },
        [[`max by (mirror) (lockstep_mirror_clock_skew_seconds{${chosen}})`, '{{mirror}}']],
        { unit: 's', signed: true },
      ),
    );
}

export function content(board: DashboardBuilder): void {
  const changed = `lockstep_push_failures_total{${chosen}, reason=~"drifted|ahead|content_unknown"}`;
  board
    .withRow(new RowBuilder('Content'))
    .withPanel(
      lines(
        {
          title: 'Damaged and drifted files',
          description:
            'Damaged: wrong bytes on the primary and no good copy. Drifted: what the last scrub found different at a mirror and could not mend.',
          width: 8,
        },
        [
          ['max(lockstep_damaged_files)', 'damaged here'],
          [`max by (mirror) (lockstep_mirror_drift_files{${chosen}, outcome="unrepaired"})`, 'drifted at {{mirror}}'],
        ],
      ),
    )
    .withPanel(
      bars(
        {
          title: 'Mirrors that others change',
          description:
            'What pushes found: drifted (wiped, set back, edited; compared anew), ahead (another primary was there), content_unknown (never published here).',
          width: 8,
        },
        [[`sum by (mirror, reason) (increase(${changed}[$__rate_interval])) > 0`, '{{mirror}}: {{reason}}']],
      ),
    )
    .withPanel(
      lines(
        { title: 'Time since the last scrub', description: 'No line: there was none.', width: 8 },
        [['time() - max(lockstep_scrub_last_run_timestamp_seconds > 0)', 'last scrub']],
        { unit: 's' },
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Indexes on keys not trusted, unusable key files',
          description: '`lockstepd keys audit` and `lockstepd keys list` name them.',
          width: 12,
        },
        [
          ['sum(lockstep_index_key_untrusted)', 'indexes on keys not trusted any more'],
          ['sum by (builder) (lockstep_keys_unusable)', 'unusable key files of {{builder}}'],
        ],
        { decimals: 0 },
      ),
    )
    .withPanel(
      states(
        {
          title: 'State and configuration',
          description: 'Whether state.db can be written, and the last configuration that was read is in use.',
          width: 12,
        },
        [
          ['min(lockstep_state_writable)', 'state.db can be written'],
          ['min(lockstep_config_last_reload_successful)', 'configuration is in use'],
        ],
        words({ 0: ['no', 'red'], 1: ['yes', 'green'] }),
      ),
    );
}

export function daemon(board: DashboardBuilder): void {
  board
    .withRow(new RowBuilder('Daemon'))
    .withPanel(
      lines(
        { title: 'Disk free', description: 'Room for new batches (root) and for the store (state).', width: 8 },
        [['min by (filesystem) (lockstep_filesystem_free_bytes)', '{{filesystem}}']],
        { unit: 'bytes' },
      ),
    )
    .withPanel(
      lines(
        { title: 'Memory', description: 'Memory of the daemon.', width: 8 },
        [
          ['max(process_resident_memory_bytes{job="lockstepd"})', 'resident'],
          ['max(nodejs_heap_size_used_bytes{job="lockstepd"})', 'heap in use'],
        ],
        { unit: 'bytes' },
      ),
    )
    .withPanel(
      bars(
        {
          title: 'Changes that the watcher missed',
          description: 'Above 0: file events are lost, uploads are noticed late.',
          width: 8,
        },
        [['sum(increase(lockstep_watch_rescan_found_total[$__rate_interval]))', 'found by the rescan']],
      ),
    )
    .withPanel(
      lines(
        { title: 'Processor', description: 'Share of one core.', width: 8 },
        [['max(rate(process_cpu_seconds_total{job="lockstepd"}[$__rate_interval]))', 'in use']],
        { unit: 'percentunit' },
      ),
    )
    .withPanel(
      lines(
        {
          title: 'Event loop',
          description:
            'How late the daemon gets to what is due (99 %). Seconds: it hangs, or the machine is overloaded.',
          width: 8,
        },
        [['max(nodejs_eventloop_lag_p99_seconds{job="lockstepd"})', 'lag']],
        { unit: 's' },
      ),
    )
    .withPanel(
      bars({ title: 'Runs of hooks', description: 'Failed ones told nobody; `lockstepd status` says why.', width: 8 }, [
        ['sum by (hook, outcome) (increase(lockstep_hook_runs_total[$__rate_interval])) > 0', '{{hook}} {{outcome}}'],
      ]),
    )
    .withPanel(
      lines(
        {
          title: 'Events that wait for hooks',
          description: 'Events of which a hook is still to be told, and those that it has missed.',
          width: 8,
        },
        [
          ['max by (hook) (lockstep_hook_events_pending)', '{{hook}} is to be told'],
          ['sum by (hook) (lockstep_hook_events_dropped_total)', '{{hook}} has missed'],
        ],
        { steps: true, decimals: 0 },
      ),
    )
    .withPanel(
      lines(
        { title: 'Version', description: 'Which version ran when.', width: 8 },
        [['max by (instance, version, node) (lockstep_build_info)', '{{instance}} {{version}}, Node {{node}}']],
        { steps: true, decimals: 0 },
      ),
    );
}
