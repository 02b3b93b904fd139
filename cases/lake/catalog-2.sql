-- A catalog as format 2 wrote it, with one segment and a read position.
PRAGMA journal_mode=WAL;
CREATE TABLE segments (
  path TEXT PRIMARY KEY, day INTEGER NOT NULL, class_uid INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
  time_min INTEGER NOT NULL, time_max INTEGER NOT NULL, host_min TEXT, host_max TEXT, ranges TEXT NOT NULL,
  rewrites INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX segments_by_day ON segments (day, class_uid);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), read_through INTEGER NOT NULL, next_file INTEGER NOT NULL);
INSERT INTO state VALUES (1, 12884901895, 13);
CREATE TABLE native_names (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO native_names VALUES ('seq');
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO leases VALUES ('compact events/2026-11-21/1007', '4711 1795219260000000000', 1795219380000);
INSERT INTO segments VALUES ('events/2026-11-21/1007/000000000012.parquet', 20778, 1007, 700, 51234, 1795219200000000, 1795219260000000,
  'DC01', 'web01', '{"class_uid":{"b":[1007,1007]},"device_hostname":{"b":["DC01","web01"],"n":3}}', 1);
PRAGMA user_version = 2;
