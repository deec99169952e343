-- What several servers of one store must know of each other; with a single one it is told in the same tables.

CREATE TABLE nodes (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    streams    BIGINT NOT NULL DEFAULT 0,
    runs       BIGINT NOT NULL DEFAULT 0
);

-- What but one of them shall do at a time.
CREATE TABLE duties (
    name   TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    until  BIGINT NOT NULL
);

-- Open event streams and WebSockets of each caller at each node.
CREATE TABLE open_streams (
    organisation_id TEXT COLLATE "C" NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    principal_id    TEXT COLLATE "C" NOT NULL,
    node_id         TEXT COLLATE "C" NOT NULL,
    count           BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, principal_id, node_id)
);
CREATE INDEX open_streams_by_node ON open_streams (node_id);

-- Open WebSockets in each chat at each node, of the dialects that count them so.
CREATE TABLE open_sockets (
    organisation_id TEXT COLLATE "C" NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    chat_id         TEXT COLLATE "C" NOT NULL,
    node_id         TEXT COLLATE "C" NOT NULL,
    count           BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, node_id)
);
CREATE INDEX open_sockets_by_node ON open_sockets (node_id);

-- How many requests of a tenant were admitted since its current minute began.
CREATE TABLE request_rates (
    organisation_id TEXT COLLATE "C" PRIMARY KEY NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    began_at        BIGINT NOT NULL,
    admitted        BIGINT NOT NULL
);

-- When signing in failed or is under way, by name and by address; these are kept as digests, the times as JSON.
CREATE TABLE sign_ins (
    kind    TEXT COLLATE "C" NOT NULL CHECK (kind IN ('name', 'address')),
    subject BYTEA NOT NULL,
    times   TEXT COLLATE "C" NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX sign_ins_by_age ON sign_ins (last_at);

-- What the servers of one store must agree on.
CREATE TABLE agreements (
    name  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    value TEXT COLLATE "C" NOT NULL
);

ALTER TABLE open_streams ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON open_streams TO chatkeep_tenant
    USING (organisation_id = nullif(current_setting('chatkeep.organisation_id', true), ''));
CREATE POLICY system ON open_streams TO chatkeep_system USING (true);
ALTER TABLE open_sockets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON open_sockets TO chatkeep_tenant
    USING (organisation_id = nullif(current_setting('chatkeep.organisation_id', true), ''));
CREATE POLICY system ON open_sockets TO chatkeep_system USING (true);
ALTER TABLE request_rates ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON request_rates TO chatkeep_tenant
    USING (organisation_id = nullif(current_setting('chatkeep.organisation_id', true), ''));
CREATE POLICY system ON request_rates TO chatkeep_system USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON open_streams, open_sockets, request_rates TO chatkeep_tenant, chatkeep_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON nodes, duties, sign_ins, agreements TO chatkeep_system;
GRANT SELECT ON nodes TO chatkeep_tenant; -- whose streams still count
