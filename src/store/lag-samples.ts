/** Samples of the lag of mirrors, the largest of each piece of time; how long they are kept is said by who writes them. */
import type { Database } from './database.ts';

export interface LagSample {
  /** Length of the piece of time, in seconds. */
  readonly span: number;
  /** Its start, in seconds since the epoch, a multiple of `span`. */
  readonly bucket: number;
  readonly mirror: string;
  /** In seconds. */
  readonly lag: number;
}

/** Samples of `span` from before `first` or from after `last` are forgotten. */
export interface LagRange {
  readonly span: number;
  readonly first: number;
  readonly last: number;
}

export class LagStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** In one transaction, so that hundreds of mirrors cost one sync of the disk. */
  save(samples: readonly LagSample[], keep: readonly LagRange[]): void {
    this.#db.transaction(() => {
      for (const { span, bucket, mirror, lag } of samples) {
        this.#db.run(
          `INSERT INTO lag_sample (span, bucket, mirror, lag) VALUES (?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET lag = excluded.lag WHERE excluded.lag > lag`,
          span,
          bucket,
          mirror,
          lag,
        );
      }
      for (const { span, first, last } of keep)
        this.#db.run('DELETE FROM lag_sample WHERE span = ? AND (bucket < ? OR bucket > ?)', span, first, last);
    });
  }

  all(): LagSample[] {
    return this.#db.all('SELECT * FROM lag_sample').map((row) => ({
      span: Number(row.span),
      bucket: Number(row.bucket),
      mirror: String(row.mirror),
      lag: Number(row.lag),
    }));
  }
}
