/** Reads the Prometheus text format, as far as the tests need it: one sample a line. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function parseScrape(text: string): readonly Sample[] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) throw new Error(`not a sample: ${line}`);
    const pairs = (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
    return {
      name: match[1] ?? '',
      labels: Object.fromEntries([...pairs].map((m) => [m[1] ?? '', m[2] ?? ''])),
      value: Number(match[3]),
    };
  });
}
