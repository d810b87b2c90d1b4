/** Writes the upstreams for `lockstepd status` and the page: one line for each. Asks nobody. */
import { escapeText } from '../system/log.ts';
import type { UpstreamStatus } from './upstreams.ts';
import type { WhenText } from './words.ts';

/** One line for each upstream; every name is escaped for terminals. */
export function renderUpstreamsBlock(upstreams: readonly UpstreamStatus[], when: WhenText): string {
  return upstreams.map((upstream) => `upstream ${upstreamText(upstream, when)}\n`).join('');
}

/** Escaped for terminals. */
export function upstreamText(upstream: UpstreamStatus, when: WhenText): string {
  const { builder, primary, upstream_generation: theirs, indexes, indexes_lacking: lacking } = upstream;
  const from = `${escapeText(builder)}${primary === null ? '' : ` (says it is ${escapeText(primary)})`}`;
  const brought =
    theirs === null
      ? 'left no lockstep.json that can be read'
      : `brought its generation ${theirs}, published there ${when(upstream.upstream_published_at)}`;
  const behind = lacking === 0 ? '' : `, ${lacking} of whose ${indexes} indexes are not served here`;
  const newest =
    upstream.generation === null
      ? 'nothing of it is published here'
      : `the newest of it here is our generation ${upstream.generation}, published ${when(upstream.published_at)}`;
  return `${from}: ${brought}${behind}; ${newest}`;
}
