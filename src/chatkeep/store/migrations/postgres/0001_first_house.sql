-- Every key starts with the organisation. Times are integer microseconds UTC; JSON is text. Texts compare by their
-- bytes, whatever the database's own order of words is.

CREATE TABLE organisations (
    id           TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    suspended_at BIGINT
);

CREATE TABLE principals (
    organisation_id   TEXT COLLATE "C" NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    id                TEXT COLLATE "C" NOT NULL,
    kind              TEXT COLLATE "C" NOT NULL CHECK (kind IN ('person', 'service')),
    role              TEXT COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'read-only')),
    name              TEXT COLLATE "C" NOT NULL,
    email             TEXT COLLATE "C",
    external_id       TEXT COLLATE "C",
    profile_image_url TEXT COLLATE "C" NOT NULL DEFAULT '',
    password_hash     TEXT COLLATE "C",
    session_stamp     TEXT COLLATE "C" NOT NULL,
    created_at        BIGINT NOT NULL,
    disabled_at       BIGINT,
    PRIMARY KEY (organisation_id, id)
);
CREATE UNIQUE INDEX principals_by_email ON principals (email) WHERE email IS NOT NULL;
CREATE UNIQUE INDEX principals_by_external_id ON principals (organisation_id, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE credentials (
    organisation_id TEXT COLLATE "C" NOT NULL,
    id              TEXT COLLATE "C" NOT NULL,
    principal_id    TEXT COLLATE "C" NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL CHECK (kind IN ('api_key', 'client')),
    name            TEXT COLLATE "C" NOT NULL,
    display         TEXT COLLATE "C" NOT NULL,
    secret_hash     BYTEA NOT NULL,
    pepper_version  BIGINT NOT NULL,
    scopes          TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT,
    revoked_at      BIGINT,
    last_used_at    BIGINT,
    PRIMARY KEY (organisation_id, id),
    FOREIGN KEY (organisation_id, principal_id) REFERENCES principals (organisation_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX credentials_by_secret ON credentials (secret_hash);
CREATE UNIQUE INDEX credentials_by_id ON credentials (id);

CREATE TABLE models (
    organisation_id        TEXT COLLATE "C" NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    id                     TEXT COLLATE "C" NOT NULL,
    display_name           TEXT COLLATE "C" NOT NULL,
    description            TEXT COLLATE "C",
    provider               TEXT COLLATE "C",
    model_name             TEXT COLLATE "C",
    context_window         BIGINT NOT NULL,
    max_tokens_per_request BIGINT,
    supports_streaming     BIGINT NOT NULL,
    supports_tools         BIGINT,
    supports_vision        BIGINT,
    supports_reasoning     BIGINT,
    credit_multiplier      DOUBLE PRECISION,
    input_price            TEXT COLLATE "C", -- for a million tokens, decimal
    output_price           TEXT COLLATE "C",
    model_tier             TEXT COLLATE "C",
    lifecycle_state        TEXT COLLATE "C" NOT NULL,
    end_of_life_at         BIGINT,
    deprecation_notice     TEXT COLLATE "C",
    is_recommended         BIGINT NOT NULL,
    enabled                BIGINT NOT NULL,
    is_system_model        BIGINT NOT NULL,
    parent_model_id        TEXT COLLATE "C",
    profile_id             TEXT COLLATE "C",
    metadata               TEXT COLLATE "C",
    system_prompt_id       TEXT COLLATE "C",
    system_prompt          TEXT COLLATE "C",
    created_at             BIGINT NOT NULL,
    updated_at             BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, id)
);
CREATE UNIQUE INDEX models_by_provider ON models (organisation_id, provider, model_name) WHERE is_system_model = 1;

CREATE TABLE agents (
    organisation_id  TEXT COLLATE "C" NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    id               TEXT COLLATE "C" NOT NULL,
    name             TEXT COLLATE "C" NOT NULL,
    prompt           TEXT COLLATE "C" NOT NULL,
    greeting_mode    TEXT COLLATE "C" NOT NULL CHECK (greeting_mode IN ('human', 'agent_static')),
    greeting_message TEXT COLLATE "C" NOT NULL,
    model_id         TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, id)
);

CREATE TABLE folders (
    organisation_id TEXT COLLATE "C" NOT NULL,
    id              TEXT COLLATE "C" NOT NULL,
    owner_id        TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, id),
    FOREIGN KEY (organisation_id, owner_id) REFERENCES principals (organisation_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX folders_by_name ON folders (organisation_id, owner_id, name);

CREATE TABLE chats (
    organisation_id    TEXT COLLATE "C" NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    id                 TEXT COLLATE "C" NOT NULL,
    owner_id           TEXT COLLATE "C",
    dialect            TEXT COLLATE "C" NOT NULL,
    model_id           TEXT COLLATE "C",
    agent_id           TEXT COLLATE "C",
    title              TEXT COLLATE "C",
    system_prompt      TEXT COLLATE "C",
    metadata           TEXT COLLATE "C",
    extra              TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    origin             TEXT COLLATE "C" NOT NULL CHECK (origin IN ('api', 'm2m', 'connector')),
    source             TEXT COLLATE "C",
    visibility         TEXT COLLATE "C" NOT NULL CHECK (visibility IN ('private', 'organization', 'shared')),
    status             TEXT COLLATE "C" CHECK (status IN ('generating', 'error')),
    last_error         TEXT COLLATE "C",
    last_error_at      BIGINT,
    session_state      TEXT COLLATE "C" NOT NULL CHECK (session_state IN ('ongoing', 'completed', 'cancelled')),
    end_reason         TEXT COLLATE "C",
    current_message_id TEXT COLLATE "C",
    last_seq           BIGINT NOT NULL DEFAULT 0,
    is_branched        BIGINT NOT NULL DEFAULT 0,
    message_count      BIGINT NOT NULL DEFAULT 0,
    documents_count    BIGINT NOT NULL DEFAULT 0,
    last_message_at    BIGINT,
    pinned             BIGINT NOT NULL DEFAULT 0,
    archived           BIGINT NOT NULL DEFAULT 0,
    folder_id          TEXT COLLATE "C",
    share_id           TEXT COLLATE "C",
    tags               TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    shared_with        TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    expires_at         BIGINT,
    deleted_at         BIGINT,
    deleted_by         TEXT COLLATE "C",
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    version            BIGINT NOT NULL DEFAULT 1, -- and the sequence of the chat's last event
    folded_to          BIGINT NOT NULL DEFAULT 0, -- events up to here may be gone: deltas of ended runs
    PRIMARY KEY (organisation_id, id)
);
CREATE INDEX chats_by_owner ON chats (organisation_id, owner_id, updated_at, id);
CREATE INDEX chats_by_update ON chats (organisation_id, updated_at, id);
CREATE INDEX chats_by_expiry ON chats (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX chats_by_deletion ON chats (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX chats_generating ON chats (organisation_id, id) WHERE status = 'generating';

-- The two tables below are the indexes of chats.shared_with and chats.tags, moved in the same transaction.
CREATE TABLE chat_people (
    organisation_id TEXT COLLATE "C" NOT NULL,
    chat_id         TEXT COLLATE "C" NOT NULL,
    principal_id    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, principal_id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation_id, principal_id) REFERENCES principals (organisation_id, id) ON DELETE CASCADE
);
CREATE INDEX chat_people_by_principal ON chat_people (organisation_id, principal_id, chat_id);

CREATE TABLE chat_tags (
    organisation_id TEXT COLLATE "C" NOT NULL,
    chat_id         TEXT COLLATE "C" NOT NULL,
    tag_id          TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    position        BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, tag_id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
);
CREATE INDEX chat_tags_by_tag ON chat_tags (organisation_id, tag_id, chat_id);

CREATE TABLE messages (
    organisation_id  TEXT COLLATE "C" NOT NULL,
    chat_id          TEXT COLLATE "C" NOT NULL,
    seq              BIGINT NOT NULL,
    id               TEXT COLLATE "C" NOT NULL,
    parent_id        TEXT COLLATE "C",
    role             TEXT COLLATE "C" NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    content          TEXT COLLATE "C" NOT NULL,
    turn_number      BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    status           TEXT COLLATE "C" NOT NULL CHECK (status IN ('generating', 'complete', 'incomplete', 'error')),
    error            TEXT COLLATE "C",
    author_id        TEXT COLLATE "C",
    agent_id         TEXT COLLATE "C",
    state_id         TEXT COLLATE "C",
    model_id         TEXT COLLATE "C",
    input_tokens     BIGINT,
    output_tokens    BIGINT,
    cost             TEXT COLLATE "C",
    response_time_ms BIGINT,
    tool_call_id     TEXT COLLATE "C",
    tool_calls       TEXT COLLATE "C",
    media_type       TEXT COLLATE "C",
    media_url        TEXT COLLATE "C",
    sources          TEXT COLLATE "C",
    metadata         TEXT COLLATE "C",
    extra            TEXT COLLATE "C",
    PRIMARY KEY (organisation_id, chat_id, seq),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX messages_by_id ON messages (organisation_id, chat_id, id);

CREATE TABLE documents (
    organisation_id TEXT COLLATE "C" NOT NULL,
    chat_id         TEXT COLLATE "C" NOT NULL,
    id              TEXT COLLATE "C" NOT NULL,
    filename        TEXT COLLATE "C" NOT NULL,
    content_type    TEXT COLLATE "C" NOT NULL,
    size_bytes      BIGINT NOT NULL,
    sha256          TEXT COLLATE "C" NOT NULL,
    content         TEXT COLLATE "C" NOT NULL,
    created_by      TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, chat_id, id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
);

CREATE TABLE shares (
    organisation_id TEXT COLLATE "C" NOT NULL,
    id              TEXT COLLATE "C" NOT NULL,
    chat_id         TEXT COLLATE "C" NOT NULL,
    snapshot        TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX shares_by_chat ON shares (organisation_id, chat_id);

CREATE TABLE runs (
    organisation_id   TEXT COLLATE "C" NOT NULL,
    id                TEXT COLLATE "C" NOT NULL,
    chat_id           TEXT COLLATE "C" NOT NULL,
    principal_id      TEXT COLLATE "C" NOT NULL,
    question_id       TEXT COLLATE "C" NOT NULL,
    answer_id         TEXT COLLATE "C" NOT NULL,
    model_id          TEXT COLLATE "C" NOT NULL,
    wish              TEXT COLLATE "C" NOT NULL,
    request           TEXT COLLATE "C",
    state             TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'completed', 'stopped', 'failed')),
    first_seq         BIGINT NOT NULL,
    epoch             BIGINT NOT NULL DEFAULT 1,
    holder            TEXT COLLATE "C",
    lease_until       BIGINT NOT NULL,
    stop_requested_at BIGINT,
    reserved_tokens   BIGINT NOT NULL DEFAULT 0,
    input_tokens      BIGINT,
    output_tokens     BIGINT,
    cost              TEXT COLLATE "C",
    response_time_ms  BIGINT,
    started_at        BIGINT NOT NULL,
    ended_at          BIGINT,
    last_seq          BIGINT,
    is_folded         BIGINT NOT NULL DEFAULT 0,
    error             TEXT COLLATE "C",
    PRIMARY KEY (organisation_id, id),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
);
CREATE INDEX runs_by_chat ON runs (organisation_id, chat_id, id);
CREATE INDEX runs_running ON runs (organisation_id, chat_id) WHERE state = 'running';
CREATE INDEX runs_to_fold ON runs (ended_at) WHERE is_folded = 0 AND ended_at IS NOT NULL;
CREATE INDEX runs_by_lease ON runs (lease_until) WHERE state = 'running';

-- The journal: one sequence a chat, without gaps. A message is named by its seq and stored once, with the messages.
CREATE TABLE events (
    organisation_id TEXT COLLATE "C" NOT NULL,
    chat_id         TEXT COLLATE "C" NOT NULL,
    seq             BIGINT NOT NULL,
    at              BIGINT NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL,
    run_id          TEXT COLLATE "C",
    message_seq     BIGINT,
    text            TEXT COLLATE "C",
    data            TEXT COLLATE "C",
    PRIMARY KEY (organisation_id, chat_id, seq),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
);

-- Tokens a tenant has used since `started_at`, for its budget.
CREATE TABLE budgets (
    organisation_id TEXT COLLATE "C" PRIMARY KEY REFERENCES organisations (id) ON DELETE CASCADE,
    started_at      BIGINT NOT NULL,
    tokens          BIGINT NOT NULL
);

CREATE TABLE idempotency (
    organisation_id TEXT COLLATE "C" NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    principal_id    TEXT COLLATE "C" NOT NULL,
    route           TEXT COLLATE "C" NOT NULL,
    key             TEXT COLLATE "C" NOT NULL,
    chat_id         TEXT COLLATE "C",
    fingerprint     BYTEA NOT NULL,
    status          BIGINT,
    body            BYTEA,
    headers         TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, principal_id, route, key),
    FOREIGN KEY (organisation_id, chat_id) REFERENCES chats (organisation_id, id) ON DELETE CASCADE
);
CREATE INDEX idempotency_by_chat ON idempotency (organisation_id, chat_id);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Whoever works for one organisation has the role chatkeep_tenant and sees nothing but what the transaction is bound to,
-- whatever the statements say; work of the system itself has the role chatkeep_system. The owner of the tables is bound
-- too: without one of the two roles it sees nothing.
DO $$
DECLARE tenant_table text;
BEGIN
    FOR tenant_table IN
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organisation_id'
        WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant ON %I TO chatkeep_tenant USING (organisation_id = '
            'nullif(current_setting(''chatkeep.organisation_id'', true), ''''))', tenant_table);
        EXECUTE format('CREATE POLICY system ON %I TO chatkeep_system USING (true)', tenant_table);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO chatkeep_tenant, chatkeep_system', tenant_table);
    END LOOP;
END $$;
ALTER TABLE organisations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON organisations TO chatkeep_tenant
    USING (id = nullif(current_setting('chatkeep.organisation_id', true), ''));
CREATE POLICY system ON organisations TO chatkeep_system USING (true);
GRANT SELECT, UPDATE (id) ON organisations TO chatkeep_tenant; -- to lock it, not to change it
GRANT SELECT, INSERT, UPDATE, DELETE ON organisations TO chatkeep_system;
