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
CREATE UNIQUE INDEX generation_open ON generation ((1)) WHERE state <> 'published';
CREATE INDEX repository_index_digest ON repository_index (sha256, repository);
CREATE INDEX repository_index_since ON repository_index (since);
CREATE INDEX repository_index_until ON repository_index (until) WHERE until IS NOT NULL;
CREATE UNIQUE INDEX repository_index_current ON repository_index (repository, file) WHERE until IS NULL;
CREATE INDEX package_file ON package (repository, file);
CREATE UNIQUE INDEX package_current ON package (repository, index_file, file) WHERE removed IS NULL;
CREATE INDEX package_name ON package (repository, name);
CREATE INDEX package_added ON package (added);
CREATE INDEX package_removed ON package (removed) WHERE removed IS NOT NULL;
CREATE INDEX package_expiring ON package (removed_at) WHERE removed IS NOT NULL;
CREATE INDEX package_unpruned ON package (removed_at) WHERE removed IS NOT NULL AND pruned = 0;
CREATE INDEX package_identity ON package (identity, size);
CREATE INDEX batch_key ON batch (key);
CREATE INDEX batch_updated ON batch (updated_at);
CREATE INDEX batch_open ON batch (builder, state) WHERE state IN ('waiting', 'held');
CREATE INDEX decided_index_digest ON decided_index (path, sha256);
CREATE INDEX mirror_sync_mirror ON mirror_sync (mirror);
CREATE INDEX recalled_package_identity ON recalled_package (identity, size);
INSERT INTO generation (number, state, published_at, tree, batch, added, removed, settle_ms, copy_ms, verify_ms, publish_ms) VALUES (1, 'published', 1700000000000, 'a', '20231114T221320-b-key 0', 2, 0, 1000, 20, 3, 0);
INSERT INTO generation (number, state, published_at, tree, batch, added, removed, settle_ms, copy_ms, verify_ms, publish_ms) VALUES (2, 'published', 1700000060000, 'b', '20231114T221420-b-key 1', 2, 1, 1000, 20, 3, 0);
INSERT INTO tree (name, generation, left_at) VALUES ('a', 1, 1700000060000);
INSERT INTO tree (name, generation, left_at) VALUES ('b', 2, null);
INSERT INTO repository_index (repository, file, since, until, sha256, size, mtime, signed_by, signed_key, description, newest_build_time, packages, builder, source) VALUES ('main/aarch64', 'APKINDEX.tar.gz', 2, null, 'cc1a79776ede64dae54588a6b2d45178b311e808c309bbe7e3dd0250f668ddfb', 15, 1700000060, 'k', null, null, 1, 1, 'b', 'ingest/b/3.index');
INSERT INTO repository_index (repository, file, since, until, sha256, size, mtime, signed_by, signed_key, description, newest_build_time, packages, builder, source) VALUES ('main/x86_64', 'APKINDEX.tar.gz', 1, 2, 'c296aca2494df3f59c21dfcb40a67be765a025f3aa50c4b90e3317cf6316dfdb', 31, 1700000000, 'k', null, null, 1, 2, 'b', 'ingest/b/1.index');
INSERT INTO repository_index (repository, file, since, until, sha256, size, mtime, signed_by, signed_key, description, newest_build_time, packages, builder, source) VALUES ('main/x86_64', 'APKINDEX.tar.gz', 2, null, '8c1eeacea242cc62db1b6d157204fff8490bbcb63280847b0fb06ddf53a39bd2', 32, 1700000060, 'k', null, null, 1, 2, 'b', 'ingest/b/2.index');
INSERT INTO package (id, repository, index_file, file, name, version, identity, size, sha256, mtime, arch, signed_by, present, added, removed, removed_at, pruned, source) VALUES (1, 'main/x86_64', 'APKINDEX.tar.gz', 'a-1-r0.apk', 'a', '1-r0', '7e240de74fb1ed08fa08d38063f6a6a91462a815', 3, '9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0', 1600000000, 'x86_64', null, 1, 1, 2, 1700000060000, 0, 'ingest/b/1.apk');
INSERT INTO package (id, repository, index_file, file, name, version, identity, size, sha256, mtime, arch, signed_by, present, added, removed, removed_at, pruned, source) VALUES (2, 'main/x86_64', 'APKINDEX.tar.gz', 'b-1-r0.apk', 'b', '1-r0', '5cb138284d431abd6a053a56625ec088bfb88912', 3, '3e744b9dc39389baf0c5a0660589b8402f3dbb49b89b3e75f2c9355852a3c677', 1600000000, 'x86_64', null, 1, 1, null, null, 0, 'ingest/b/2.apk');
INSERT INTO package (id, repository, index_file, file, name, version, identity, size, sha256, mtime, arch, signed_by, present, added, removed, removed_at, pruned, source) VALUES (3, 'main/x86_64', 'APKINDEX.tar.gz', 'a-2-r0.apk', 'a', '2-r0', '70c881d4a26984ddce795f6f71817c9cf4480e79', 4, '61be55a8e2f6b4e172338bddf184d6dbee29c98853e0a0485ecee7f27b9af0b4', 1600000000, 'x86_64', null, 1, 2, null, null, 0, 'ingest/b/3.apk');
INSERT INTO package (id, repository, index_file, file, name, version, identity, size, sha256, mtime, arch, signed_by, present, added, removed, removed_at, pruned, source) VALUES (4, 'main/aarch64', 'APKINDEX.tar.gz', 'c-1-r0.apk', 'c', '1-r0', 'bdb480de655aa6ec75ca058c849c4faf3c0f75b1', 2, '355b1bbfc96725cdce8f4a2708fda310a80e6d13315aec4e5eed2a75fe8032ce', 1600000000, 'x86_64', null, 1, 2, null, null, 0, 'ingest/b/4.apk');
INSERT INTO batch (id, key, builder, state, generation, superseded, created_at, updated_at, repositories, reasons, told) VALUES ('20231114T221320-b-key 0', 'key 0', 'b', 'published', 1, 0, 1700000000000, 1700000000000, '[{"path":"main/x86_64","index":"main/x86_64/APKINDEX.tar.gz","sha256":"c296aca2494df3f59c21dfcb40a67be765a025f3aa50c4b90e3317cf6316dfdb","base":null}]', '[]', null);
INSERT INTO batch (id, key, builder, state, generation, superseded, created_at, updated_at, repositories, reasons, told) VALUES ('20231114T221420-b-key 1', 'key 1', 'b', 'published', 2, 0, 1700000060000, 1700000060000, '[{"path":"main/x86_64","index":"main/x86_64/APKINDEX.tar.gz","sha256":"8c1eeacea242cc62db1b6d157204fff8490bbcb63280847b0fb06ddf53a39bd2","base":1},{"path":"main/aarch64","index":"main/aarch64/APKINDEX.tar.gz","sha256":"cc1a79776ede64dae54588a6b2d45178b311e808c309bbe7e3dd0250f668ddfb","base":null}]', '[]', null);
INSERT INTO decision (id, batch, builder, decision, who, why, at) VALUES (1, 'x', 'b', 'rejected', 'ops', 'it''s wrong', 1700000060000);
INSERT INTO decided_index (decision, path, sha256, base, reasons) VALUES (1, 'main/x86_64/APKINDEX.tar.gz', 'f00', 1, '[]');
INSERT INTO mirror (name, target, confirmed, serves, recalled, pruned_until, last_success_at, observed, observed_at, unknown_content, ahead, taken_over_at, staged, part) VALUES ('paris', 'sftp:paris', 2, 2, 0, 0, 1700000060000, null, null, 0, 0, null, null, '');
INSERT INTO mirror_reached (generation, mirror, target, confirmed_at, observed_at) VALUES (2, 'paris', 'sftp:paris', 1700000060000, null);
INSERT INTO event (id, event, at, facts) VALUES (1, 'published', 1700000000000, '{"event":"published","generation":1,"batch":"20231114T221320-b-key 0"}');
INSERT INTO event (id, event, at, facts) VALUES (2, 'published', 1700000060000, '{"event":"published","generation":2,"batch":"20231114T221420-b-key 1"}');
PRAGMA user_version=1;
