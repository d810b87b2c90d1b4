/** What ships for monitoring, as the tests read it: the rules, the dashboard, and a scrape of a real registry to hold them against. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { parse } from 'yaml';
import { errnoOf } from '../../src/errors.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { exec } from '../../src/system/exec.ts';
import { brokerFacts, mirrorFacts, nowMs, scrubStatus, statusFacts } from './facts.ts';

export const config = resolve(import.meta.dirname, '../../config');
export const rulesFile = join(config, 'prometheus/lockstepd.rules.yml');

export interface Rule {
  /** Empty for a recording rule, as `record` is for an alert. */
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Rules {
  readonly groups: readonly { readonly name: string; readonly interval?: string; readonly rules: readonly Rule[] }[];
}

export async function readRules(): Promise<Rules> {
  return parse(await readFile(rulesFile, 'utf8')) as Rules;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
}

export interface Dashboard {
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly annotations: { readonly list: readonly { readonly name: string; readonly expr?: string }[] };
}

export async function readDashboard(): Promise<Dashboard> {
  return JSON.parse(await readFile(join(config, 'grafana/lockstepd.json'), 'utf8')) as Dashboard;
}

export function queriesOf({ panels, annotations }: Dashboard): string[] {
  return [
    ...panels.flatMap((panel) => panel.targets ?? []).map((target) => target.expr),
    ...annotations.list.flatMap((annotation) => annotation.expr ?? []),
  ];
}

const hookFacts = { name: 'mail', on: ['held'], running: false, pending: 0, dropped: 0, last: null } as const;

/** A scrape in which every metric has at least one series. */
export async function fullScrape(): Promise<string> {
  const metrics = new Metrics({
    builders: ['bpo'],
    mirrors: ['paris'],
    brokers: ['broker'],
    hooks: ['mail'],
    version: '0.1.0',
  });
  metrics.probed('paris', { success: true, durationSeconds: 0.1, clockSkewSeconds: 0 });
  const sync = { periodMs: 3_600_000, nextMs: nowMs, overdue: false };
  const mirrors = [mirrorFacts({ takeoverAfterMs: 600_000, sync })];
  const facts = statusFacts({ mirrors, announcements: [brokerFacts()], scrub: scrubStatus, hooks: [hookFacts] });
  return metrics.render(facts, nowMs, { root: 50e9, state: 1e9 });
}

/** Runs promtool, which must have nothing to say; skips the test where it is not installed. */
export async function promtool(t: TestContext, args: readonly string[], input?: string): Promise<void> {
  try {
    const result = await exec(['promtool', ...args], { timeoutMs: 120_000, ...(input === undefined ? {} : { input }) });
    assert.equal(result.code, 0, `promtool ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    assert.equal(args.includes('metrics') ? result.stderr : '', '', 'the lint has nothing to say');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    t.skip('promtool absent: rules, dashboard queries and metrics were not checked by Prometheus itself');
  }
}
