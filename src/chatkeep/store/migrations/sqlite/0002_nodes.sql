-- What several servers of one store must know of each other; with a single one it is told in the same tables.

CREATE TABLE nodes (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    version    TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    streams    INTEGER NOT NULL DEFAULT 0,
    runs       INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;

-- What but one of them shall do at a time.
CREATE TABLE duties (
    name   TEXT PRIMARY KEY NOT NULL,
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- Open event streams and WebSockets of each caller at each node.
CREATE TABLE open_streams (
    organisation_id TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    principal_id    TEXT NOT NULL,
    node_id         TEXT NOT NULL,
    count           INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, principal_id, node_id)
) WITHOUT ROWID, STRICT;
CREATE INDEX open_streams_by_node ON open_streams (node_id);

-- Open WebSockets in each chat at each node, of the dialects that count them so.
CREATE TABLE open_sockets (
    organisation_id TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    chat_id         TEXT NOT NULL,
    node_id         TEXT NOT NULL,
    count           INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, node_id)
) WITHOUT ROWID, STRICT;
CREATE INDEX open_sockets_by_node ON open_sockets (node_id);

-- How many requests of a tenant were admitted since its current minute began.
CREATE TABLE request_rates (
    organisation_id TEXT PRIMARY KEY NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    began_at        INTEGER NOT NULL,
    admitted        INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- When signing in failed or is under way, by name and by address; these are kept as digests, the times as JSON.
CREATE TABLE sign_ins (
    kind    TEXT NOT NULL CHECK (kind IN ('name', 'address')),
    subject BLOB NOT NULL,
    times   TEXT NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID, STRICT;
CREATE INDEX sign_ins_by_age ON sign_ins (last_at);

-- What the servers of one store must agree on.
CREATE TABLE agreements (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

DROP INDEX idempotency_unanswered; -- no statement asked for it
