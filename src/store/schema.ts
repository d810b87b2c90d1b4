/** The schema of state.db as a list of steps; a released step is never edited, only followed by another. */

export const migrations: readonly string[] = [
  `
  CREATE TABLE generation (
    number INTEGER PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('preparing', 'pending', 'published')),
    published_at INTEGER NOT NULL,
    tree TEXT NOT NULL,
    batch TEXT NOT NULL,
    added INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    settle_ms INTEGER,
    copy_ms INTEGER,
    verify_ms INTEGER,
    publish_ms INTEGER
  ) STRICT;
  CREATE UNIQUE INDEX generation_open ON generation ((1)) WHERE state <> 'published';

  CREATE TABLE tree (
    name TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    left_at INTEGER
  ) STRICT;

  CREATE TABLE repository_index (
    repository TEXT NOT NULL,
    file TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    signed_by TEXT NOT NULL,
    signed_key TEXT,
    description TEXT,
    newest_build_time INTEGER,
    packages INTEGER NOT NULL,
    builder TEXT NOT NULL,
    source TEXT,
    PRIMARY KEY (repository, file, since)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX repository_index_digest ON repository_index (sha256, repository);
  CREATE INDEX repository_index_since ON repository_index (since);
  CREATE INDEX repository_index_until ON repository_index (until) WHERE until IS NOT NULL;
  CREATE UNIQUE INDEX repository_index_current ON repository_index (repository, file) WHERE until IS NULL;

  CREATE TABLE published_before (
    sha256 TEXT PRIMARY KEY
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE package (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    index_file TEXT NOT NULL,
    file TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    identity TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT,
    mtime INTEGER,
    arch TEXT,
    signed_by TEXT,
    present INTEGER NOT NULL,
    added INTEGER NOT NULL,
    removed INTEGER,
    removed_at INTEGER,
    pruned INTEGER NOT NULL DEFAULT 0,
    source TEXT
  ) STRICT;
  CREATE INDEX package_file ON package (repository, file);
  CREATE UNIQUE INDEX package_current ON package (repository, index_file, file) WHERE removed IS NULL;
  CREATE INDEX package_name ON package (repository, name);
  CREATE INDEX package_added ON package (added);
  CREATE INDEX package_removed ON package (removed) WHERE removed IS NOT NULL;
  CREATE INDEX package_expiring ON package (removed_at) WHERE removed IS NOT NULL;
  CREATE INDEX package_unpruned ON package (removed_at) WHERE removed IS NOT NULL AND pruned = 0;
  CREATE INDEX package_identity ON package (identity, size);

  CREATE TABLE batch (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    builder TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'published', 'held', 'rejected')),
    generation INTEGER,
    superseded INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    repositories TEXT NOT NULL,
    reasons TEXT NOT NULL,
    -- What it was held for when that was told last.
    told TEXT
  ) STRICT;
  CREATE INDEX batch_key ON batch (key);
  CREATE INDEX batch_updated ON batch (updated_at);
  CREATE INDEX batch_open ON batch (builder, state) WHERE state IN ('waiting', 'held');

  CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    batch TEXT NOT NULL,
    builder TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('approved', 'rejected')),
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE decided_index (
    decision INTEGER NOT NULL REFERENCES decision (id),
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    base INTEGER,
    reasons TEXT NOT NULL,
    PRIMARY KEY (decision, path)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX decided_index_digest ON decided_index (path, sha256);

  CREATE TABLE mirror (
    name TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    confirmed INTEGER,
    serves INTEGER,
    recalled INTEGER NOT NULL DEFAULT 0,
    pruned_until INTEGER NOT NULL DEFAULT 0,
    last_success_at INTEGER,
    observed INTEGER,
    observed_at INTEGER,
    unknown_content INTEGER NOT NULL DEFAULT 0,
    ahead INTEGER NOT NULL DEFAULT 0,
    taken_over_at INTEGER,
    staged INTEGER,
    part TEXT NOT NULL DEFAULT ''
  ) STRICT;
  CREATE TABLE mirror_state (
    mirror TEXT PRIMARY KEY,
    config TEXT NOT NULL,
    failures INTEGER NOT NULL,
    kind TEXT CHECK (kind IN ('retryable', 'busy', 'permanent', 'security')),
    reason TEXT,
    message TEXT,
    blocked_by TEXT CHECK (blocked_by IN ('permanent', 'security', 'operator')),
    note TEXT,
    until INTEGER
  ) STRICT;

  CREATE TABLE mirror_sync (
    id INTEGER PRIMARY KEY,
    mirror TEXT NOT NULL,
    target TEXT NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX mirror_sync_mirror ON mirror_sync (mirror);

  CREATE TABLE mirror_reached (
    generation INTEGER NOT NULL,
    mirror TEXT NOT NULL,
    target TEXT NOT NULL,
    confirmed_at INTEGER,
    observed_at INTEGER,
    PRIMARY KEY (generation, mirror, target)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE lag_sample (
    span INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    mirror TEXT NOT NULL,
    lag INTEGER NOT NULL,
    PRIMARY KEY (span, bucket, mirror)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE broker (
    name TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    announced INTEGER,
    announced_at INTEGER
  ) STRICT;

  CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    event TEXT NOT NULL,
    at INTEGER NOT NULL,
    facts TEXT NOT NULL
  ) STRICT;
  CREATE TABLE hook (
    name TEXT PRIMARY KEY,
    events TEXT NOT NULL,
    told INTEGER NOT NULL,
    dropped INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE mirror_block_told (
    mirror TEXT PRIMARY KEY,
    blocked_by TEXT NOT NULL CHECK (blocked_by IN ('permanent', 'security', 'operator'))
  ) STRICT;

  CREATE TABLE rollback (
    batch TEXT PRIMARY KEY,
    target INTEGER NOT NULL,
    repository TEXT,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE recall (
    id INTEGER PRIMARY KEY,
    asked TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at INTEGER NOT NULL,
    applied INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE recalled_package (
    recall INTEGER NOT NULL REFERENCES recall (id),
    repository TEXT NOT NULL,
    file TEXT NOT NULL,
    identity TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (recall, repository, file, identity, size)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX recalled_package_identity ON recalled_package (identity, size);
  CREATE TABLE damaged (
    kind TEXT NOT NULL CHECK (kind IN ('package', 'index')),
    repository TEXT NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    found_at INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (repository, file, sha256)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE scrub (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    finished INTEGER NOT NULL,
    report TEXT NOT NULL
  ) STRICT;
  `,
];
