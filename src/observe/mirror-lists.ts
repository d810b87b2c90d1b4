/** Decides the mirrors in the forms that the tools of other distributions read. What is not measured is null, never invented. Pure. */
import type { PublicMirror, PublicStatus } from './public-status.ts';

/**
 * Arch Linux's `mirrors/status/json`, version 3 (archweb, mirrors/views/api.py and mirrors/utils.py), which `reflector` and the like
 * sort and filter by. There `last_sync` is how old what a mirror serves is, and `delay` the check's time minus that. Here each
 * tells of one check, the last one. Null are the durations (and `score`, which is made of them), IPv4 and IPv6: nobody measures them.
 */
export interface ArchStatus {
  /** Seconds after which a mirror that did not answer has no `last_sync` any more. */
  readonly cutoff: number;
  readonly last_check: string | null;
  readonly num_checks: number;
  /** Seconds. */
  readonly check_frequency: number;
  readonly urls: readonly ArchMirror[];
  readonly version: 3;
}

interface ArchMirror {
  readonly url: string;
  readonly protocol: string;
  readonly last_sync: string | null;
  /** 1: the last check was answered, 0: it was not. */
  readonly completion_pct: 0 | 1;
  /** Seconds. */
  readonly delay: number | null;
  readonly duration_avg: null;
  readonly duration_stddev: null;
  readonly score: null;
  readonly active: true;
  /** Empty as for a mirror of no country there. */
  readonly country: '';
  readonly country_code: '';
  /** There are only packages. */
  readonly isos: false;
  readonly ipv4: null;
  readonly ipv6: null;
  /** No mirror has a page of its own. */
  readonly details: null;
}

const cutoffSeconds = 86_400;

/** `checkSeconds`: how often mirrors are looked at. */
export function archStatus(status: PublicStatus, checkSeconds: number): ArchStatus {
  const checks = status.mirrors.map(({ checked_at: at }) => at).filter((at) => at !== null);
  const nowMs = Date.parse(status.generated_at);
  return {
    cutoff: cutoffSeconds,
    last_check: checks.toSorted().at(-1) ?? null,
    num_checks: 1,
    check_frequency: checkSeconds,
    urls: status.mirrors.map((mirror) => archMirror(mirror, checkSeconds, nowMs)),
    version: 3,
  };
}

function archMirror(
  { url, checked_at: checkedAt, lag_seconds: lag }: PublicMirror,
  checkSeconds: number,
  nowMs: number,
): ArchMirror {
  const age = checkedAt === null ? Number.POSITIVE_INFINITY : (nowMs - Date.parse(checkedAt)) / 1000;
  const isKnown = checkedAt !== null && lag !== null && age <= cutoffSeconds;
  return {
    url,
    protocol: url.slice(0, url.indexOf(':')),
    last_sync: isKnown ? `${new Date(Date.parse(checkedAt) - lag * 1000).toISOString().slice(0, 19)}Z` : null,
    // A check takes its time too: one that is late by less than its period is no failure yet.
    completion_pct: age <= 2 * checkSeconds + 30 ? 1 : 0,
    delay: isKnown ? lag : null,
    duration_avg: null,
    duration_stddev: null,
    score: null,
    active: true,
    country: '',
    country_code: '',
    isos: false,
    ipv4: null,
    ipv6: null,
    details: null,
  };
}

/**
 * Alpine's `mirrors.json` (mirrors.alpinelinux.org; alpine-mirror-status, generate-mirrors-json.lua): the list from which set-up tools
 * let a user choose. Of those that are in step or behind, not those of which nothing is known.
 */
export interface AlpineMirror {
  readonly name: string;
  readonly location: null;
  readonly bandwidth: null;
  readonly urls: readonly string[];
}

export function alpineMirrors({ mirrors }: PublicStatus): AlpineMirror[] {
  return mirrors
    .filter(({ state }) => state !== 'unknown')
    .map(({ name, url }) => ({ name, location: null, bandwidth: null, urls: [url] }));
}
