-- The store's table as version 0.1 wrote it.
CREATE TABLE IF NOT EXISTS "idempotency_keys_version" (version INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS "idempotency_keys" (
    key         BLOB    NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    token       BLOB    NOT NULL,
    fence       INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    lease_ends  INTEGER,
    expires_at  INTEGER NOT NULL,
    steps       BLOB,
    record      BLOB
);
CREATE INDEX IF NOT EXISTS "idempotency_keys_expires_at" ON "idempotency_keys" (expires_at);
INSERT INTO "idempotency_keys_version" (version) VALUES (1) ON CONFLICT DO NOTHING;
-- The key `done`.
INSERT INTO "idempotency_keys" VALUES (
    x'a4c3ed04a95a3da14a9d235c83d868bed7c0f45cf7f3faa751ee8f50598d2211',
    x'1111111111111111111111111111111111111111111111111111111111111111', x'21212121212121212121212121212121', 7, 2,
    NULL, CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 86400000, NULL, x'7265636f7264'
);
-- The key `dead`.
INSERT INTO "idempotency_keys" VALUES (
    x'28a3a5e81d1e89f0efc70b63bf717b921373fc7fac70bc1b7e4d466799c0c6b0',
    x'1212121212121212121212121212121212121212121212121212121212121212', x'22222222222222222222222222222222', 8, 1,
    CAST(strftime('%s', 'now') AS INTEGER) * 1000 - 1000, CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 86400000, x'7374657073', NULL
);
-- The key `running`.
INSERT INTO "idempotency_keys" VALUES (
    x'c071cf5f5ed6f884cc70155b6f05f755fd46a302d05e4261b7e92ce878bbfed8',
    x'1313131313131313131313131313131313131313131313131313131313131313', x'23232323232323232323232323232323', 9, 0,
    CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 3600000, CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 86400000, NULL, NULL
);
