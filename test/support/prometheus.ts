/** A real Prometheus on loopback, with data of its own, that scrapes one target twice a second. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface FiringAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
}

export interface Prometheus extends AsyncDisposable {
  /** Pending and firing. */
  alerts(): Promise<readonly FiringAlert[]>;
  /** The value of an expression that gives one series; null when it gives none. */
  value(expr: string): Promise<number | null>;
}

/** Ends Prometheus when the test's process is gone, however that ended. */
const keeper = '"$@" 2>&1 & cat >/dev/null; kill $!; wait $!';
/** So long it has to start, and to answer, also on a machine that is ten times slower. */
const startMs = 60_000;

/** `rules` as an object: JSON is YAML. The target's job is lockstepd. */
export async function startPrometheus(target: string, rules: unknown): Promise<Prometheus> {
  const home = await mkdtemp(join(tmpdir(), 'lockstepd-prometheus-'));
  await writeFile(join(home, 'rules.yml'), JSON.stringify(rules));
  const config = {
    global: { scrape_interval: '500ms', scrape_timeout: '500ms', evaluation_interval: '500ms' },
    rule_files: ['rules.yml'],
    scrape_configs: [{ job_name: 'lockstepd', static_configs: [{ targets: [target] }] }],
  };
  await writeFile(join(home, 'prometheus.yml'), JSON.stringify(config));
  const options = [`--config.file=${home}/prometheus.yml`, `--storage.tsdb.path=${home}/data`];
  const command = ['prometheus', ...options, '--web.listen-address=127.0.0.1:0'];
  const child = spawn('/bin/sh', ['-c', keeper, 'sh', ...command], { stdio: ['pipe', 'pipe', 'ignore'] });
  let log = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (log += text));
  const end = async (): Promise<void> => {
    const closed = once(child, 'close');
    child.stdin.end();
    await closed;
    await rm(home, { recursive: true, force: true });
  };
  const deadline = performance.now() + startMs;
  const address = (): string | undefined => /msg="Listening on" address=(\S+)/.exec(log)?.[1];
  while (address() === undefined || !log.includes('Server is ready')) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await end();
      throw new Error(`Prometheus did not start: ${log.slice(-3000)}`);
    }
    await sleep(20);
  }
  const ask = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://${address()}/api/v1/${path}`, { signal: AbortSignal.timeout(startMs) });
    const body = (await response.json()) as { status: string; data: unknown };
    if (body.status !== 'success') throw new Error(`Prometheus: ${path}: ${JSON.stringify(body)}`);
    return body.data;
  };
  return {
    alerts: async () => ((await ask('alerts')) as { alerts: FiringAlert[] }).alerts,
    value: async (expr) => {
      const { result } = (await ask(`query?query=${encodeURIComponent(expr)}`)) as {
        result: { value: [number, string] }[];
      };
      return result[0] === undefined ? null : Number(result[0].value[1]);
    },
    [Symbol.asyncDispose]: end,
  };
}
