-- name: message_insert!
INSERT INTO messages
    (organisation_id, chat_id, seq, id, parent_id, role, content, turn_number, created_at, status, error, author_id,
     agent_id, state_id, model_id, input_tokens, output_tokens, cost, response_time_ms, tool_call_id, tool_calls,
     media_type, media_url, sources, metadata, extra)
VALUES
    (:organisation_id, :chat_id, :seq, :id, :parent_id, :role, :content, :turn_number, :created_at, :status, :error,
     :author_id, :agent_id, :state_id, :model_id, :input_tokens, :output_tokens, :cost, :response_time_ms, :tool_call_id,
     :tool_calls, :media_type, :media_url, :sources, :metadata, :extra);

-- name: message_answer!
-- What an answer is in the end, or (again) while it is generated.
UPDATE messages SET
    content = :content, status = :status, error = :error, model_id = :model_id, input_tokens = :input_tokens,
    output_tokens = :output_tokens, cost = :cost, response_time_ms = :response_time_ms, tool_calls = :tool_calls,
    sources = :sources
WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND id = :id;

-- name: message_sources!
UPDATE messages SET sources = :sources WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND id = :id;

-- name: message_get^
SELECT chat_id, id, seq, parent_id, role, content, turn_number, created_at, status, error, author_id, agent_id, state_id,
       model_id, input_tokens, output_tokens, cost, response_time_ms, tool_call_id, tool_calls, media_type, media_url,
       sources, metadata, extra
FROM messages WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND id = :id;

-- name: message_turn^
SELECT turn_number FROM messages WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND id = :id;

-- name: messages_all
SELECT chat_id, id, seq, parent_id, role, content, turn_number, created_at, status, error, author_id, agent_id, state_id,
       model_id, input_tokens, output_tokens, cost, response_time_ms, tool_call_id, tool_calls, media_type, media_url,
       sources, metadata, extra
FROM messages WHERE organisation_id = :organisation_id AND chat_id = :chat_id ORDER BY seq;

-- name: messages_after
SELECT chat_id, id, seq, parent_id, role, content, turn_number, created_at, status, error, author_id, agent_id, state_id,
       model_id, input_tokens, output_tokens, cost, response_time_ms, tool_call_id, tool_calls, media_type, media_url,
       sources, metadata, extra
FROM messages WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND seq > :seq
ORDER BY seq LIMIT :row_limit;

-- name: messages_before
SELECT chat_id, id, seq, parent_id, role, content, turn_number, created_at, status, error, author_id, agent_id, state_id,
       model_id, input_tokens, output_tokens, cost, response_time_ms, tool_call_id, tool_calls, media_type, media_url,
       sources, metadata, extra
FROM messages WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND seq < :seq
ORDER BY seq DESC LIMIT :row_limit;

-- name: messages_speaking_forward
SELECT chat_id, id, seq, parent_id, role, content, turn_number, created_at, status, error, author_id, agent_id, state_id,
       model_id, input_tokens, output_tokens, cost, response_time_ms, tool_call_id, tool_calls, media_type, media_url,
       sources, metadata, extra
FROM messages WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND role IN ('user', 'assistant')
ORDER BY seq LIMIT :row_limit OFFSET :row_offset;

-- name: messages_speaking_backward
SELECT chat_id, id, seq, parent_id, role, content, turn_number, created_at, status, error, author_id, agent_id, state_id,
       model_id, input_tokens, output_tokens, cost, response_time_ms, tool_call_id, tool_calls, media_type, media_url,
       sources, metadata, extra
FROM messages WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND role IN ('user', 'assistant')
ORDER BY seq DESC LIMIT :row_limit OFFSET :row_offset;
