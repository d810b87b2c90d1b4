/** What a transport over ssh is given, rsync and sftp alike. */
import type { Clock } from '../system/clock.ts';
import type { SshTarget } from '../system/ssh.ts';

export interface SshTransportOptions {
  readonly target: SshTarget;
  /**
   * The mirror's root as the account sees it: `/` is the directory of rrsync or of a chroot; a relative path starts at the
   * account's home. It must exist.
   */
  readonly path: string;
  readonly clock?: Clock;
  /** A call without any progress for this long ends in `timeout`, default 60 s. */
  readonly stallMs?: number;
  /** A call may take this long in all, or longer when it moves much (see stall.ts); default 10 min. */
  readonly deadlineMs?: number;
  /** Sync each file before it gets its name, so that a power cut at the mirror tears nothing; default true. */
  readonly fsync?: boolean;
  /** Deadline for connecting, default 15 s. */
  readonly connectTimeoutMs?: number;
}
