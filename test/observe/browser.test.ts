import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import axe from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { type RunningServer, startServer } from '../../src/observe/server.ts';
import type { MirrorStatus, Status } from '../../src/observe/status.ts';
import { silentLog } from '../../src/system/log.ts';
import { type FleetFacts, fleetFacts } from './fleet-facts.ts';

const executablePath = '/usr/bin/chromium';
const absent = existsSync(executablePath) ? false : 'chromium absent';

/** For what takes a moment, and on a busy machine many. */
const patienceMs = 120_000;
let browser: Promise<Browser> | undefined;
const closing: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const close of closing) await close();
  await (await browser)?.close();
});

/** A server of the pages whose facts a test changes. */
interface Site {
  facts: FleetFacts;
  server: RunningServer;
}

/** A loopback address of this process alone: a port that was given back there is taken by nobody else. */
const host = `127.${64 + ((process.pid >> 16) & 63)}.${(process.pid >> 8) & 255}.${process.pid & 255}`;

function start(site: Pick<Site, 'facts'>, port = 0): Promise<RunningServer> {
  return startServer({
    listen: { host, port },
    socket: null,
    log: silentLog,
    handlers: {
      metrics: async () => '',
      status: () => site.facts.status,
      history: () => site.facts.history,
      checkSeconds: () => 60,
      alive: () => true,
      ready: () => true,
      control: new Map(),
    },
  });
}

async function siteOf(mirrors: number): Promise<Site> {
  const facts = fleetFacts(mirrors, Date.now());
  const site: Site = { facts, server: await start({ facts }) };
  await site.server.close();
  site.server = await start(site, site.server.address?.port);
  closing.push(() => site.server.close());
  return site;
}

/** Opens a page of the site; `wrong` gathers what a console shows and what the policy refuses. */
async function open(
  site: Site,
  path: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; wrong: string[] }> {
  browser ??= chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'], timeout: patienceMs });
  const context = await (await browser).newContext(options);
  context.setDefaultTimeout(patienceMs);
  const page = await context.newPage();
  const wrong: string[] = [];
  page.on('console', (message) => wrong.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => wrong.push(String(error)));
  await page.addInitScript(
    'addEventListener("securitypolicyviolation", (e) => console.error("policy", e.violatedDirective))',
  );
  await page.goto(`http://${host}:${site.server.address?.port}${path}`);
  return { page, wrong };
}

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string;
    readonly nodes: readonly { readonly html: string }[];
  }[];
}

function changed(site: Site, name: string, changes: Partial<MirrorStatus>): void {
  const { status } = site.facts;
  const mirrors = status.mirrors.map((mirror) => (mirror.name === name ? { ...mirror, ...changes } : mirror));
  const next: Status = { ...status, mirrors };
  site.facts = { ...site.facts, status: next };
}

async function until(what: string, page: Page, condition: string): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while ((await page.evaluate(condition)) !== true) {
    if (performance.now() > deadline) assert.fail(`${what}: not ${condition}`);
    await sleep(20);
  }
}

const isLive = 'document.getElementById("live").textContent === "Live"';
/** What a console shows of a server that ends, at whatever moment of a request. */
const lostConnection =
  /ERR_CONNECTION_(REFUSED|RESET|CLOSED)|ERR_EMPTY_RESPONSE|INCOMPLETE_CHUNKED|502 \(Bad Gateway\)/;
const noScroll = 'document.documentElement.scrollWidth <= innerWidth';

test('the page brings in what changes without loading again, and leaves focus, selection and what is unfolded alone', {
  skip: absent,
}, async () => {
  const site = await siteOf(30);
  const { page, wrong } = await open(site, '/');
  await until('events', page, isLive);
  assert.match(await page.title(), /^25 of 30 mirrors in step/);
  await page.evaluate(`
    window.kept = true;
    document.querySelector('#m-york a').focus();
    document.getElementById('g-4809').open = true;
    getSelection().selectAllChildren(document.querySelector('#m-nice th a'));
    scrollTo(0, 300);`);
  changed(site, 'tokyo', {
    state: 'in-sync',
    generation: 4812,
    observed_generation: 4812,
    lag_seconds: 0,
    observed_lag_seconds: 0,
    last_error: null,
    waits_for: null,
  });
  changed(site, 'york', { state: 'blocked', blocked_by: 'operator', last_error: 'blocked by hand: <b>moving</b>' });
  await until(
    'the change',
    page,
    'document.querySelector("h1").textContent === "25 of 30 mirrors in step: 2 blocked, 1 unknown content, 1 on the way, 1 not known"',
  );
  assert.deepEqual(
    await page.evaluate(`[
      window.kept, document.activeElement.closest('tr').id, document.getElementById('g-4809').open, getSelection().toString(),
      document.querySelector('#m-tokyo td').textContent, document.querySelector('#m-york td:last-child').textContent,
      document.querySelector('#mirrors tr:nth-child(3)').id, document.querySelectorAll('#mirrors tr').length, scrollY > 0,
      document.title]`),
    [
      true,
      'm-york',
      true,
      'nice',
      'in step',
      'blocked by hand: <b>moving</b>',
      'm-york',
      30,
      true,
      '25 of 30 mirrors in step: 2 blocked, 1 unknown content, 1 on the way, 1 not known - lockstepd',
    ],
  );
  const { history } = site.facts;
  const [newest] = history.propagation;
  assert.ok(newest);
  const status = { ...site.facts.status, generation: 4813, mirrors: site.facts.status.mirrors.slice(1) };
  site.facts = {
    ...site.facts,
    status,
    history: { ...history, propagation: [{ ...newest, generation: 4813 }, ...history.propagation.slice(0, 9)] },
  };
  await until('the next generation', page, 'document.querySelector("details").id === "g-4813"');
  assert.deepEqual(
    await page.evaluate(`[document.querySelectorAll('details').length, document.getElementById('g-4813').open, document.getElementById('g-4809').open,
      document.querySelectorAll('#mirrors tr').length, document.getElementById('m-paris')]`),
    [10, true, true, 29, null],
  );
  assert.deepEqual(wrong, []);
});

test('the page says that it is not connected, and goes on with the next daemon', { skip: absent }, async () => {
  const site = await siteOf(3);
  const { page, wrong } = await open(site, '/public/');
  await until('events', page, isLive);
  await page.evaluate("document.getElementById('m-oslo').kept = true");
  const port = site.server.address?.port;
  await site.server.close();
  // As a web server does for a daemon that is away: after it a browser does not come again by itself.
  const refused = Promise.withResolvers<undefined>();
  const proxy = createServer((_, answer) => {
    refused.resolve(undefined);
    answer.writeHead(502).end();
  }).listen(port, host);
  closing.push(async () => proxy.close());
  await until(
    'the note',
    page,
    '!document.getElementById("lost").hidden && document.getElementById("live").textContent === "Not connected"',
  );
  await refused.promise;
  proxy.closeAllConnections();
  await new Promise((closed) => proxy.close(closed));
  changed(site, 'tokyo', {
    generation: 4812,
    observed_generation: 4812,
    lag_seconds: 0,
    observed_lag_seconds: 0,
    state: 'in-sync',
  });
  site.server = await start(site, port);
  await until(
    'the next daemon',
    page,
    `${isLive} && document.getElementById("lost").hidden && document.getElementById("m-oslo").kept && document.querySelector("h1").textContent.startsWith("2 of 3")`,
  );
  assert.deepEqual(
    wrong.filter((line) => !lostConnection.test(line)),
    [],
  );
});

test('without a script both pages are whole', { skip: absent }, async () => {
  const site = await siteOf(30);
  for (const path of ['/', '/public/']) {
    const { page } = await open(site, path, { javaScriptEnabled: false });
    assert.equal(await page.locator('#mirrors tr').count(), path === '/' ? 30 : 29);
    assert.match(await page.locator('h1').innerText(), /mirrors in step/);
    assert.equal(await page.locator('meta[http-equiv=refresh]').count(), 1);
    assert.match(await page.locator('footer').innerText(), /It loads again every 30 s/);
  }
});

test('a keyboard reaches everything: the skip link first, then what needs a look', { skip: absent }, async () => {
  const { page } = await open(await siteOf(30), '/');
  const focused = (): Promise<unknown> => page.evaluate('document.activeElement.textContent');
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Skip to the mirrors');
  assert.ok(
    Number(await page.evaluate('document.activeElement.getBoundingClientRect().left')) >= 0,
    'seen when it has the focus',
  );
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'oslo');
  assert.notEqual(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle'), 'none');
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate('document.activeElement.closest("tr")?.id'), 'm-oslo');
  await page.evaluate('document.querySelector("#g-4811 summary").focus()');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate('document.getElementById("g-4811").open'), true);
});

test('a phone shows cards and never scrolls sideways; a wide screen shows tables', { skip: absent }, async () => {
  const site = await siteOf(200);
  for (const path of ['/', '/public/']) {
    const { page } = await open(site, path);
    for (const width of [320, 390, 768, 1248, 1249, 1366, 1920]) {
      await page.setViewportSize({ width, height: 800 });
      assert.equal(await page.evaluate(noScroll), true, `${path} at ${width}`);
      const display = await page.evaluate('getComputedStyle(document.querySelector("#mirrors tr")).display');
      assert.equal(display, width <= 1248 ? 'grid' : 'table-row', `${path} at ${width}`);
    }
  }
});

test('nothing hinders who reads with a screen reader or needs contrast, light and dark, wide and narrow', {
  skip: absent,
}, async () => {
  const site = await siteOf(13);
  for (const path of ['/', '/public/']) {
    const backgrounds = new Set<unknown>();
    const { page, wrong } = await open(site, path);
    for (const [colorScheme, width] of [
      ['light', 1360],
      ['dark', 390],
    ] as const) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      backgrounds.add(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate<AxeResult>('axe.run({ resultTypes: ["violations"] })');
      const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0]?.html}`);
      assert.deepEqual(found, [], `${path} ${colorScheme} ${width}`);
    }
    assert.equal(backgrounds.size, 2);
    assert.deepEqual(wrong, []);
  }
});
