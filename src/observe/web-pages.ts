/** What is answered over HTTP to whoever asks, by path: the page for operators and its data, and what is public. Changes nothing. */
import { type Clock } from '../system/clock.ts';
import { escapeJson, type Log } from '../system/log.ts';
import { LivePage } from './live.ts';
import { alpineMirrors, archStatus } from './mirror-lists.ts';
import { operatorPage, pageEdition, type PageFacts, pagePolicy, publicPage, renderDocument } from './page.ts';
import type { PageModel } from './page-model.ts';
import type { RecentHistory } from './propagation.ts';
import { publicStatus, type PublicStatus } from './public-status.ts';
import type { Status } from './status.ts';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What is shown. */
export interface PageSources {
  status(): Status;
  /** Lag over time, and the way of the last generations. */
  history(): RecentHistory;
  /** How often each mirror is probed. */
  checkSeconds(): number;
}

export interface WebPages {
  /** The page, by its path. */
  readonly pages: ReadonlyMap<string, () => Answer>;
  /** Events for the page in the same directory, by their path. */
  readonly events: ReadonlyMap<string, LivePage>;
}

interface Deps {
  readonly sources: PageSources;
  readonly clock: Clock;
  readonly log: Log;
}

/** The page for operators at `/`. */
export function operatorPages(deps: Deps): WebPages {
  const live = livePage(deps, operatorPage);
  const links = ['status.json', 'history.json', 'metrics'];
  return {
    pages: new Map([['/', () => pageAnswer(live, deps.clock, links)]]),
    events: new Map([['/events', live]]),
  };
}

/** For this long the public page and its data may be kept, so that many readers cost no more than one. */
const publicMaxAgeSeconds = 5;
const publicLinks = ['status.json', 'mirrors.json', 'mirrors/status/json'];

/**
 * What anybody may see, below `at` (`/` or a path with a slash at both ends). Every link is relative, so that a web server can show
 * it at any path.
 */
export function publicPages(deps: Deps, at: string): WebPages {
  const live = livePage(deps, publicPage);
  const { clock, sources } = deps;
  const fresh = keptFor(clock, publicMaxAgeSeconds * 1000, () => pageAnswer(live, clock, publicLinks));
  const facts = (): PublicStatus => publicStatus(sources.status(), sources.history(), clock.now());
  const data = (of: (status: PublicStatus) => unknown): (() => Answer) =>
    keptFor(clock, publicMaxAgeSeconds * 1000, () => publicAnswer(json(200, of(facts()))));
  const arch = data((status) => archStatus(status, sources.checkSeconds()));
  const pages: [string, () => Answer][] = [
    ['', () => publicAnswer(fresh())],
    ['status.json', data((status) => status)],
    ['mirrors.json', data(alpineMirrors)],
    ['mirrors/status/json', arch],
    // archlinux.org has it with the slash.
    ['mirrors/status/json/', arch],
  ];
  return {
    pages: new Map(pages.map(([path, answer]) => [`${at}${path}`, answer])),
    events: new Map([[`${at}events`, live]]),
  };
}

export function json(status: number, value: unknown): Answer {
  return {
    status,
    type: 'application/json; charset=utf-8',
    body: `${escapeJson(JSON.stringify(value ?? null))}\n`,
  };
}

function livePage({ sources, clock, log }: Deps, page: (facts: PageFacts) => PageModel): LivePage {
  const render = (): PageModel => page({ status: sources.status(), history: sources.history(), nowMs: clock.now() });
  return new LivePage({ render, edition: pageEdition, clock, log });
}

function pageAnswer(live: LivePage, clock: Clock, links: readonly string[]): Answer {
  const { model, version } = live.current();
  return {
    status: 200,
    type: 'text/html; charset=utf-8',
    body: renderDocument(model, { version, nowMs: clock.now(), links }),
    headers: { 'content-security-policy': pagePolicy },
  };
}

/** Pages of other sites may read the data too: there is nothing in it that is not for everybody. */
function publicAnswer(answer: Answer): Answer {
  const headers = {
    'cache-control': `public, max-age=${publicMaxAgeSeconds}`,
    'access-control-allow-origin': '*',
    'cross-origin-resource-policy': 'cross-origin',
  };
  return { ...answer, headers: { ...answer.headers, ...headers } };
}

function keptFor<T>(clock: Clock, ms: number, make: () => T): () => T {
  let kept: { readonly value: T; readonly at: number } | null = null;
  return () => {
    if (kept === null || clock.monotonic() - kept.at >= ms) kept = { value: make(), at: clock.monotonic() };
    return kept.value;
  };
}
