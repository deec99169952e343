-- user_version 2

CREATE TABLE agents (
    organisation_id  TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    id               TEXT NOT NULL,
    name             TEXT NOT NULL,
    prompt           TEXT NOT NULL,
    greeting_mode    TEXT NOT NULL CHECK (greeting_mode IN ('human', 'agent_static')),
    greeting_message TEXT NOT NULL,
    model_id         TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE agreements (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE budgets (
    organisation_id TEXT PRIMARY KEY REFERENCES organisations (id) ON DELETE CASCADE,
    started_at      INTEGER NOT NULL,
    tokens          INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE chat_people (
    organisation_id TEXT NOT NULL,
    chat_id         TEXT NOT NULL,
    principal_id    TEXT NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, principal_id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation_id, principal_id) REFERENCES principals (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE chat_tags (
    organisation_id TEXT NOT NULL,
    chat_id         TEXT NOT NULL,
    tag_id          TEXT NOT NULL,
    name            TEXT NOT NULL,
    position        INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, tag_id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE chats (
    organisation_id    TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    id                 TEXT NOT NULL,
    owner_id           TEXT,
    dialect            TEXT NOT NULL,
    model_id           TEXT,
    agent_id           TEXT,
    title              TEXT,
    system_prompt      TEXT,
    metadata           TEXT,
    extra              TEXT NOT NULL DEFAULT '{}',
    origin             TEXT NOT NULL CHECK (origin IN ('api', 'm2m', 'connector')),
    source             TEXT,
    visibility         TEXT NOT NULL CHECK (visibility IN ('private', 'organization', 'shared')),
    status             TEXT CHECK (status IN ('generating', 'error')),
    last_error         TEXT,
    last_error_at      INTEGER,
    session_state      TEXT NOT NULL CHECK (session_state IN ('ongoing', 'completed', 'cancelled')),
    end_reason         TEXT,
    current_message_id TEXT,
    last_seq           INTEGER NOT NULL DEFAULT 0,
    is_branched        INTEGER NOT NULL DEFAULT 0,
    message_count      INTEGER NOT NULL DEFAULT 0,
    documents_count    INTEGER NOT NULL DEFAULT 0,
    last_message_at    INTEGER,
    pinned             INTEGER NOT NULL DEFAULT 0,
    archived           INTEGER NOT NULL DEFAULT 0,
    folder_id          TEXT,
    share_id           TEXT,
    tags               TEXT NOT NULL DEFAULT '[]',
    shared_with        TEXT NOT NULL DEFAULT '[]',
    expires_at         INTEGER,
    deleted_at         INTEGER,
    deleted_by         TEXT,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    version            INTEGER NOT NULL DEFAULT 1, -- and the sequence of the chat's last event
    folded_to          INTEGER NOT NULL DEFAULT 0, -- events up to here may be gone: deltas of ended runs
    PRIMARY KEY (organisation_id, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE credentials (
    organisation_id TEXT NOT NULL,
    id              TEXT NOT NULL,
    principal_id    TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('api_key', 'client')),
    name            TEXT NOT NULL,
    display         TEXT NOT NULL,
    secret_hash     BLOB NOT NULL,
    pepper_version  INTEGER NOT NULL,
    scopes          TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    revoked_at      INTEGER,
    last_used_at    INTEGER,
    PRIMARY KEY (organisation_id, id),
    FOREIGN KEY (organisation_id, principal_id) REFERENCES principals (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE documents (
    organisation_id TEXT NOT NULL,
    chat_id         TEXT NOT NULL,
    id              TEXT NOT NULL,
    filename        TEXT NOT NULL,
    content_type    TEXT NOT NULL,
    size_bytes      INTEGER NOT NULL,
    sha256          TEXT NOT NULL,
    content         TEXT NOT NULL,
    created_by      TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE duties (
    name   TEXT PRIMARY KEY NOT NULL,
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE events (
    organisation_id TEXT NOT NULL,
    chat_id         TEXT NOT NULL,
    seq             INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    kind            TEXT NOT NULL,
    run_id          TEXT,
    message_seq     INTEGER,
    text            TEXT,
    data            TEXT,
    PRIMARY KEY (organisation_id, chat_id, seq),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE folders (
    organisation_id TEXT NOT NULL,
    id              TEXT NOT NULL,
    owner_id        TEXT NOT NULL,
    name            TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, id),
    FOREIGN KEY (organisation_id, owner_id) REFERENCES principals (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE idempotency (
    organisation_id TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    principal_id    TEXT NOT NULL,
    route           TEXT NOT NULL,
    key             TEXT NOT NULL,
    chat_id         TEXT,
    fingerprint     BLOB NOT NULL,
    status          INTEGER,
    body            BLOB,
    headers         TEXT NOT NULL DEFAULT '{}',
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, principal_id, route, key),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE messages (
    organisation_id  TEXT NOT NULL,
    chat_id          TEXT NOT NULL,
    seq              INTEGER NOT NULL,
    id               TEXT NOT NULL,
    parent_id        TEXT,
    role             TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    content          TEXT NOT NULL,
    turn_number      INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('generating', 'complete', 'incomplete', 'error')),
    error            TEXT,
    author_id        TEXT,
    agent_id         TEXT,
    state_id         TEXT,
    model_id         TEXT,
    input_tokens     INTEGER,
    output_tokens    INTEGER,
    cost             TEXT,
    response_time_ms INTEGER,
    tool_call_id     TEXT,
    tool_calls       TEXT,
    media_type       TEXT,
    media_url        TEXT,
    sources          TEXT,
    metadata         TEXT,
    extra            TEXT,
    PRIMARY KEY (organisation_id, chat_id, seq),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE models (
    organisation_id        TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    id                     TEXT NOT NULL,
    display_name           TEXT NOT NULL,
    description            TEXT,
    provider               TEXT,
    model_name             TEXT,
    context_window         INTEGER NOT NULL,
    max_tokens_per_request INTEGER,
    supports_streaming     INTEGER NOT NULL,
    supports_tools         INTEGER,
    supports_vision        INTEGER,
    supports_reasoning     INTEGER,
    credit_multiplier      REAL,
    input_price            TEXT, -- for a million tokens, decimal
    output_price           TEXT,
    model_tier             TEXT,
    lifecycle_state        TEXT NOT NULL,
    end_of_life_at         INTEGER,
    deprecation_notice     TEXT,
    is_recommended         INTEGER NOT NULL,
    enabled                INTEGER NOT NULL,
    is_system_model        INTEGER NOT NULL,
    parent_model_id        TEXT,
    profile_id             TEXT,
    metadata               TEXT,
    system_prompt_id       TEXT,
    system_prompt          TEXT,
    created_at             INTEGER NOT NULL,
    updated_at             INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE nodes (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    version    TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    streams    INTEGER NOT NULL DEFAULT 0,
    runs       INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;

CREATE TABLE open_sockets (
    organisation_id TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    chat_id         TEXT NOT NULL,
    node_id         TEXT NOT NULL,
    count           INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, node_id)
) WITHOUT ROWID, STRICT;

CREATE TABLE open_streams (
    organisation_id TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    principal_id    TEXT NOT NULL,
    node_id         TEXT NOT NULL,
    count           INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, principal_id, node_id)
) WITHOUT ROWID, STRICT;

CREATE TABLE organisations (
    id           TEXT PRIMARY KEY NOT NULL,
    name         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    suspended_at INTEGER
) WITHOUT ROWID, STRICT;

CREATE TABLE principals (
    organisation_id   TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    id                TEXT NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('person', 'service')),
    role              TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'read-only')),
    name              TEXT NOT NULL,
    email             TEXT,
    external_id       TEXT,
    profile_image_url TEXT NOT NULL DEFAULT '',
    password_hash     TEXT,
    session_stamp     TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    disabled_at       INTEGER,
    PRIMARY KEY (organisation_id, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE request_rates (
    organisation_id TEXT PRIMARY KEY NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    began_at        INTEGER NOT NULL,
    admitted        INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE runs (
    organisation_id   TEXT NOT NULL,
    id                TEXT NOT NULL,
    chat_id           TEXT NOT NULL,
    principal_id      TEXT NOT NULL,
    question_id       TEXT NOT NULL,
    answer_id         TEXT NOT NULL,
    model_id          TEXT NOT NULL,
    wish              TEXT NOT NULL,
    request           TEXT,
    state             TEXT NOT NULL CHECK (state IN ('running', 'completed', 'stopped', 'failed')),
    first_seq         INTEGER NOT NULL,
    epoch             INTEGER NOT NULL DEFAULT 1,
    holder            TEXT,
    lease_until       INTEGER NOT NULL,
    stop_requested_at INTEGER,
    reserved_tokens   INTEGER NOT NULL DEFAULT 0,
    input_tokens      INTEGER,
    output_tokens     INTEGER,
    cost              TEXT,
    response_time_ms  INTEGER,
    started_at        INTEGER NOT NULL,
    ended_at          INTEGER,
    last_seq          INTEGER,
    is_folded         INTEGER NOT NULL DEFAULT 0,
    error             TEXT,
    PRIMARY KEY (organisation_id, id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE shares (
    organisation_id TEXT NOT NULL,
    id              TEXT NOT NULL,
    chat_id         TEXT NOT NULL,
    snapshot        TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;

CREATE TABLE sign_ins (
    kind    TEXT NOT NULL CHECK (kind IN ('name', 'address')),
    subject BLOB NOT NULL,
    times   TEXT NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID, STRICT;

CREATE INDEX chat_people_by_principal ON chat_people (organisation_id, principal_id, chat_id);

CREATE INDEX chat_tags_by_tag ON chat_tags (organisation_id, tag_id, chat_id);

CREATE INDEX chats_by_deletion ON chats (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE INDEX chats_by_expiry ON chats (expires_at) WHERE expires_at IS NOT NULL;

CREATE INDEX chats_by_owner ON chats (organisation_id, owner_id, updated_at, id);

CREATE INDEX chats_by_update ON chats (organisation_id, updated_at, id);

CREATE INDEX chats_generating ON chats (organisation_id, id) WHERE status = 'generating';

CREATE UNIQUE INDEX credentials_by_id ON credentials (id);

CREATE UNIQUE INDEX credentials_by_secret ON credentials (secret_hash);

CREATE UNIQUE INDEX folders_by_name ON folders (organisation_id, owner_id, name);

CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE INDEX idempotency_by_chat ON idempotency (organisation_id, chat_id);

CREATE UNIQUE INDEX messages_by_id ON messages (organisation_id, chat_id, id);

CREATE UNIQUE INDEX models_by_provider ON models (organisation_id, provider, model_name) WHERE is_system_model = 1;

CREATE INDEX open_sockets_by_node ON open_sockets (node_id);

CREATE INDEX open_streams_by_node ON open_streams (node_id);

CREATE UNIQUE INDEX principals_by_email ON principals (email) WHERE email IS NOT NULL;

CREATE UNIQUE INDEX principals_by_external_id ON principals (organisation_id, external_id) WHERE external_id IS NOT NULL;

CREATE INDEX runs_by_chat ON runs (organisation_id, chat_id, id);

CREATE INDEX runs_by_lease ON runs (lease_until) WHERE state = 'running';

CREATE INDEX runs_running ON runs (organisation_id, chat_id) WHERE state = 'running';

CREATE INDEX runs_to_fold ON runs (ended_at) WHERE is_folded = 0 AND ended_at IS NOT NULL;

CREATE UNIQUE INDEX shares_by_chat ON shares (organisation_id, chat_id);

CREATE INDEX sign_ins_by_age ON sign_ins (last_at);
