-- The store's table as version 0.1 wrote it.
CREATE TABLE IF NOT EXISTS "idempotency_keys_version" (version bigint PRIMARY KEY);
CREATE TABLE IF NOT EXISTS "idempotency_keys" (
    key         bytea       NOT NULL PRIMARY KEY,
    fingerprint bytea       NOT NULL,
    token       bytea       NOT NULL,
    fence       bigint      NOT NULL,
    state       bigint      NOT NULL,
    lease_ends  timestamptz,
    expires_at  timestamptz NOT NULL CHECK (isfinite(expires_at)),
    steps       bytea,
    record      bytea
);
CREATE INDEX IF NOT EXISTS "idempotency_keys_expires_at" ON "idempotency_keys" (expires_at);
INSERT INTO "idempotency_keys_version" (version) VALUES (1) ON CONFLICT DO NOTHING;
-- The key `done`.
INSERT INTO "idempotency_keys" VALUES (
    '\xa4c3ed04a95a3da14a9d235c83d868bed7c0f45cf7f3faa751ee8f50598d2211',
    '\x1111111111111111111111111111111111111111111111111111111111111111', '\x21212121212121212121212121212121', 7, 2,
    NULL, now() + interval '1 day', NULL, '\x7265636f7264'
);
-- The key `dead`.
INSERT INTO "idempotency_keys" VALUES (
    '\x28a3a5e81d1e89f0efc70b63bf717b921373fc7fac70bc1b7e4d466799c0c6b0',
    '\x1212121212121212121212121212121212121212121212121212121212121212', '\x22222222222222222222222222222222', 8, 1,
    now() - interval '1 second', now() + interval '1 day', '\x7374657073', NULL
);
-- The key `running`.
INSERT INTO "idempotency_keys" VALUES (
    '\xc071cf5f5ed6f884cc70155b6f05f755fd46a302d05e4261b7e92ce878bbfed8',
    '\x1313131313131313131313131313131313131313131313131313131313131313', '\x23232323232323232323232323232323', 9, 0,
    now() + interval '1 hour', now() + interval '1 day', NULL, NULL
);
