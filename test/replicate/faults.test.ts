import assert from 'node:assert/strict';
import test from 'node:test';
import { localFault, rsyncFault, sftpFault, sshFault } from '../../src/replicate/faults.ts';

/** Exit code of our rsync, of the command at the mirror, what was said, and what it means. */
const runs: readonly [number | null, number | null, string, string, string][] = [
  [12, 1, '/usr/bin/rrsync error: Another instance of rrsync is already accessing this directory.', 'busy', 'busy'],
  [12, 1, 'rrsync error: option --delete has been disabled on this server.', 'option_refused', 'permanent'],
  [12, 1, 'rrsync error: reading from write-only server is not allowed', 'option_refused', 'permanent'],
  [12, 13, '/usr/bin/rrsync reading from write-only server not allowed', 'option_refused', 'permanent'],
  [12, 13, '/usr/bin/rrsync sending to read-only server not allowed', 'option_refused', 'permanent'],
  [12, 1, 'rrsync error: sending to read-only server is not allowed', 'option_refused', 'permanent'],
  [12, 1, 'rrsync error: do not use .. in arg (anchor the path at the root)', 'option_refused', 'permanent'],
  [12, 1, "rrsync error: unsafe arg: /x ['/srv/x', '/x']", 'option_refused', 'permanent'],
  [12, 1, 'rrsync error: Restricted directory does not exist!', 'not_found', 'permanent'],
  [12, 1, 'Traceback: in lock_or_die(args.dir)\\u{a}FileNotFoundError: [Errno 2] /srv/m', 'not_found', 'permanent'],
  [11, 11, 'rsync: [Receiver] mkdir "/srv/m/." failed: No such file or directory (2)', 'not_found', 'permanent'],
  [3, 3, 'rsync: [Receiver] change_dir#3 "/srv/m" failed: No such file or directory (2)', 'not_found', 'permanent'],
  [11, 11, 'rsync: [receiver] write failed on "/srv/m/a": No space left on device (28)', 'disk_full', 'retryable'],
  [23, 23, 'rsync: [receiver] mkstemp "/srv/m/.a.x" failed: Disk quota exceeded (122)', 'disk_full', 'retryable'],
  [23, 23, 'rsync: [receiver] mkstemp "/srv/m/.a.x" failed: Read-only file system (30)', 'read_only', 'permanent'],
  [23, 23, 'rsync: [receiver] mkstemp "/srv/m/.a.x" failed: Permission denied (13)', 'permission', 'permanent'],
  [0, 23, 'rsync: [generator] failed to stat "a": Too many levels of symbolic links (40)', 'not_found', 'permanent'],
  [3, null, 'refusing to follow a symlink owned by an untrusted user', 'permission', 'permanent'],
  [255, null, 'ssh: Could not resolve hostname x: Name or service not known', 'dns', 'retryable'],
  [255, null, 'ssh: connect to host x port 22: Connection refused', 'refused', 'retryable'],
  [255, null, 'Connection timed out during banner exchange', 'timeout', 'retryable'],
  [255, null, 'm@x: Permission denied (publickey).', 'auth', 'permanent'],
  [255, null, 'Host key verification failed.', 'host_key', 'security'],
  [255, null, 'Connection to x closed by remote host.', 'closed', 'retryable'],
  [12, 127, 'sh: 1: rsync: not found', 'remote_shell', 'permanent'],
  [12, 127, '', 'remote_shell', 'permanent'],
  [2, null, 'protocol version mismatch -- is your shell clean?', 'remote_shell', 'permanent'],
  [12, 1, 'This service allows sftp connections only.', 'remote_shell', 'permanent'],
  [12, 1, 'rsync: --fsync: unknown option', 'option_refused', 'permanent'],
  [30, null, 'io timeout after 60 seconds -- exiting', 'timeout', 'retryable'],
  [35, null, '', 'timeout', 'retryable'],
  [10, null, '', 'closed', 'retryable'],
  [12, null, 'rsync: connection unexpectedly closed (0 bytes received so far)', 'closed', 'retryable'],
  [12, 0, '', 'protocol', 'retryable'],
  [23, 0, 'rsync: [sender] link_stat "/srv/t/a" failed: No such file or directory (2)', 'vanished', 'retryable'],
  [23, 23, 'some files/attrs were not transferred', 'partial', 'retryable'],
  [0, 23, '', 'partial', 'retryable'],
  [24, 0, 'file has vanished', 'vanished', 'retryable'],
  [25, 0, '', 'option_refused', 'permanent'],
  [1, 0, '', 'option_refused', 'permanent'],
  [13, 0, '', 'local', 'retryable'],
  [20, null, '', 'local', 'retryable'],
  [null, null, '', 'closed', 'retryable'],
  // Our rsync was content, but the other end was cut off before it told how it ended.
  [0, null, '', 'closed', 'retryable'],
  [99, 0, 'odd', 'unknown', 'retryable'],
];

test('a run of rsync is classified by exit codes and messages together', () => {
  for (const [code, remoteCode, stderr, reason, kind] of runs) {
    const fault = rsyncFault({ code, remoteCode, stderr });
    assert.deepEqual([fault.reason, fault.kind], [reason, kind], `${code}/${remoteCode} ${stderr}`);
  }
});

test('an error of the connection is classified by socket code, level and message', () => {
  const rows: readonly [string | undefined, string | undefined, string, string, string][] = [
    ['ECONNREFUSED', 'client-socket', 'connect ECONNREFUSED', 'refused', 'retryable'],
    ['ETIMEDOUT', 'client-socket', 'connect ETIMEDOUT', 'timeout', 'retryable'],
    ['EHOSTUNREACH', 'client-socket', '', 'unreachable', 'retryable'],
    ['ENOTFOUND', 'client-socket', 'getaddrinfo ENOTFOUND x', 'dns', 'retryable'],
    ['EAI_AGAIN', 'client-socket', '', 'dns', 'retryable'],
    ['ECONNRESET', 'client-socket', 'read ECONNRESET', 'closed', 'retryable'],
    [undefined, 'client-timeout', 'Timed out while waiting for handshake', 'timeout', 'retryable'],
    [undefined, 'client-timeout', 'Keepalive timeout', 'timeout', 'retryable'],
    [undefined, 'client-authentication', 'All configured authentication methods failed', 'auth', 'permanent'],
    [undefined, 'handshake', 'Handshake failed: no matching key exchange algorithm', 'protocol', 'permanent'],
    [undefined, undefined, 'Handshake failed: Host denied (verification failed)', 'host_key', 'security'],
    [undefined, 'protocol', 'Connection lost before handshake', 'closed', 'retryable'],
    [undefined, undefined, 'Unable to start subsystem: sftp', 'remote_shell', 'permanent'],
    [undefined, undefined, 'SFTP packet of 1349676916 bytes', 'protocol', 'retryable'],
    [undefined, undefined, 'SFTP session closed by the other side', 'closed', 'retryable'],
  ];
  for (const [code, level, message, reason, kind] of rows) {
    const fault = sshFault({ code, level, message });
    assert.deepEqual([fault.reason, fault.kind], [reason, kind], `${code} ${level} ${message}`);
  }
});

test('a refused SFTP request is classified by its status and by what statvfs said', () => {
  const of = (status: number, space?: { full: boolean; readOnly: boolean }): string[] => {
    const fault = sftpFault({ status, message: 'Failure', space });
    return [fault.reason, fault.kind];
  };
  assert.deepEqual(of(2), ['not_found', 'permanent']);
  assert.deepEqual(of(3), ['permission', 'permanent']);
  assert.deepEqual(of(4), ['unknown', 'retryable']);
  assert.deepEqual(of(4, { full: true, readOnly: false }), ['disk_full', 'retryable']);
  assert.deepEqual(of(4, { full: false, readOnly: true }), ['read_only', 'permanent']);
  assert.deepEqual(of(7), ['closed', 'retryable']);
  assert.deepEqual(of(8), ['option_refused', 'permanent']);
});

test('a system error of a directory mirror is classified by its code', () => {
  const of = (code: string): string[] => [localFault(code, '').reason, localFault(code, '').kind];
  assert.deepEqual(of('ENOSPC'), ['disk_full', 'retryable']);
  assert.deepEqual(of('EROFS'), ['read_only', 'permanent']);
  assert.deepEqual(of('EACCES'), ['permission', 'permanent']);
  assert.deepEqual(of('ELOOP'), ['not_found', 'permanent']);
  assert.deepEqual(of('EIO'), ['unknown', 'retryable']);
});

test('what the other side says is one line of bounded length', () => {
  const { message } = rsyncFault({ code: 23, remoteCode: 23, stderr: `a\\u{a}b\n${'x'.repeat(10_000)}` });
  assert.ok(message.includes('(a b xxx'), message.slice(0, 200));
  assert.ok(message.length < 500 && message.endsWith('…)'), `${message.length}`);
});
