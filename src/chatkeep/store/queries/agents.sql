-- name: agent_insert!
INSERT INTO agents
    (organisation_id, id, name, prompt, greeting_mode, greeting_message, model_id, created_at, updated_at)
VALUES
    (:organisation_id, :id, :name, :prompt, :greeting_mode, :greeting_message, :model_id, :created_at, :updated_at);

-- name: agent_get^
SELECT organisation_id, id, name, prompt, greeting_mode, greeting_message, model_id, created_at, updated_at
FROM agents WHERE organisation_id = :organisation_id AND id = :id;

-- name: agents_page
SELECT organisation_id, id, name, prompt, greeting_mode, greeting_message, model_id, created_at, updated_at
FROM agents WHERE organisation_id = :organisation_id ORDER BY created_at, id LIMIT :row_limit OFFSET :row_offset;

-- name: agents_count^
SELECT count(*) FROM agents WHERE organisation_id = :organisation_id;
