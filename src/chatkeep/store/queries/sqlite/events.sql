-- name: system_deltas_advance!
-- One tick of all streams: room for an event in each of the chats.
UPDATE chats SET version = version + 1
FROM json_each(:chats) AS chat
WHERE chats.organisation_id = chat.value ->> 0 AND chats.id = chat.value ->> 1;

-- name: system_deltas_held^
-- Which of the runs are still ours to write, by their place, and the sequence that there is room for.
SELECT json_group_array(json_array(claim.key, chats.version))
FROM json_each(:claims) AS claim
JOIN runs ON runs.organisation_id = claim.value ->> 0 AND runs.id = claim.value ->> 1
         AND runs.epoch = claim.value ->> 2 AND runs.state = 'running' AND runs.stop_requested_at IS NULL
JOIN chats ON chats.organisation_id = runs.organisation_id AND chats.id = runs.chat_id;

-- name: system_deltas_withdraw!
UPDATE chats SET version = version - 1
FROM json_each(:chats) AS chat
WHERE chats.organisation_id = chat.value ->> 0 AND chats.id = chat.value ->> 1;

-- name: system_events_heads^
-- How far the journals of these chats go.
SELECT json_group_array(json_array(chats.organisation_id, chats.id, chats.version))
FROM json_each(:places) AS place
JOIN chats ON chats.organisation_id = place.value ->> 0 AND chats.id = place.value ->> 1;
