-- name: messages_by_seq
SELECT chat_id, id, seq, parent_id, role, content, turn_number, created_at, status, error, author_id, agent_id, state_id,
       model_id, input_tokens, output_tokens, cost, response_time_ms, tool_call_id, tool_calls, media_type, media_url,
       sources, metadata, extra
FROM messages
WHERE organisation_id = :organisation_id AND chat_id = :chat_id
  AND seq IN (SELECT value::bigint FROM json_array_elements_text(:seqs::json));
