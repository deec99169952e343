-- name: system_deltas_advance!
-- One tick of all streams: room for an event in each of the chats. Before the next statement, in one of its own: whoever
-- ends, stops or takes over a run holds its chat, and one that is waited for here has done so by the time that one looks.
-- All in one order, so that two ticks never wait for each other.
WITH held AS (
    SELECT chats.organisation_id, chats.id FROM json_array_elements(:chats::json) AS chat
    JOIN chats ON chats.organisation_id = chat.value ->> 0 AND chats.id = chat.value ->> 1
    ORDER BY chats.organisation_id, chats.id
    FOR NO KEY UPDATE OF chats)
UPDATE chats SET version = version + 1 FROM held
WHERE chats.organisation_id = held.organisation_id AND chats.id = held.id;

-- name: system_deltas_append^
-- A piece for each of the runs that are still ours to write, where there is room for it: which chats got one.
WITH added AS (
INSERT INTO events (organisation_id, chat_id, seq, at, kind, run_id, text)
SELECT chats.organisation_id, chats.id, chats.version, :at, delta.value ->> 3, runs.id, delta.value ->> 4
FROM json_array_elements(:deltas::json) AS delta
JOIN runs ON runs.organisation_id = delta.value ->> 0 AND runs.id = delta.value ->> 1
         AND runs.epoch = (delta.value ->> 2)::bigint AND runs.state = 'running' AND runs.stop_requested_at IS NULL
JOIN chats ON chats.organisation_id = runs.organisation_id AND chats.id = runs.chat_id
RETURNING organisation_id, chat_id, seq)
SELECT json_agg(json_build_array(organisation_id, chat_id, seq)) FROM added;

-- name: system_deltas_withdraw!
UPDATE chats SET version = version - 1
FROM json_array_elements(:chats::json) AS chat
WHERE chats.organisation_id = chat.value ->> 0 AND chats.id = chat.value ->> 1;

-- name: system_events_heads^
-- How far the journals of these chats go.
SELECT json_agg(json_build_array(chats.organisation_id, chats.id, chats.version))
FROM json_array_elements(:places::json) AS place
JOIN chats ON chats.organisation_id = place.value ->> 0 AND chats.id = place.value ->> 1;
