-- name: system_deltas_held^
-- One tick of all streams: which of the runs are still ours to write, by their place, and each chat's next sequence.
-- The chat first: whoever ends or takes over a run holds it, so that afterwards the run's newest row is seen. All in
-- one order, so that two ticks never wait for each other.
SELECT json_agg(json_build_array(held.place, held.seq)) FROM (
    SELECT claim.place - 1 AS place, chats.version + 1 AS seq
    FROM json_array_elements(:claims::json) WITH ORDINALITY AS claim (value, place)
    JOIN runs ON runs.organisation_id = claim.value ->> 0 AND runs.id = claim.value ->> 1
             AND runs.epoch = (claim.value ->> 2)::bigint AND runs.state = 'running' AND runs.stop_requested_at IS NULL
    JOIN chats ON chats.organisation_id = runs.organisation_id AND chats.id = runs.chat_id
    ORDER BY chats.organisation_id, chats.id
    FOR NO KEY UPDATE OF chats FOR KEY SHARE OF runs) AS held;

-- name: system_deltas_advance!
UPDATE chats SET version = version + 1
FROM json_array_elements(:chats::json) AS chat
WHERE chats.organisation_id = chat.value ->> 0 AND chats.id = chat.value ->> 1;

-- name: system_events_heads^
-- How far the journals of these chats go.
SELECT json_agg(json_build_array(chats.organisation_id, chats.id, chats.version))
FROM json_array_elements(:places::json) AS place
JOIN chats ON chats.organisation_id = place.value ->> 0 AND chats.id = place.value ->> 1;
