-- name: system_deltas_advance!
-- One tick of all streams: room for an event in each of the chats.
UPDATE chats SET version = version + 1
FROM json_each(:chats) AS chat
WHERE chats.organisation_id = chat.value ->> 0 AND chats.id = chat.value ->> 1;

-- name: system_deltas_append^
-- A piece for each of the runs that are still ours to write, where there is room for it: which chats got one. Two
-- statements and one row, as between two steps of SQLite other threads want to run.
WITH element AS MATERIALIZED (SELECT value FROM json_each(:deltas)),  -- its text is made anew wherever it is used
     delta AS MATERIALIZED (SELECT value ->> 0 AS organisation_id, value ->> 1 AS run_id, value ->> 2 AS epoch,
                                   value ->> 3 AS kind, value ->> 4 AS text FROM element)
INSERT INTO events (organisation_id, chat_id, seq, at, kind, run_id, text)
SELECT chats.organisation_id, chats.id, chats.version, :at, delta.kind, runs.id, delta.text
FROM delta
CROSS JOIN runs ON runs.organisation_id = delta.organisation_id AND runs.id = delta.run_id
               AND runs.epoch = delta.epoch AND runs.state = 'running' AND runs.stop_requested_at IS NULL
JOIN chats ON chats.organisation_id = runs.organisation_id AND chats.id = runs.chat_id;
SELECT json_group_array(json_array(events.organisation_id, events.chat_id, events.seq))
FROM json_each(:chats) AS chat
JOIN chats ON chats.organisation_id = chat.value ->> 0 AND chats.id = chat.value ->> 1
JOIN events ON events.organisation_id = chats.organisation_id AND events.chat_id = chats.id
           AND events.seq = chats.version;

-- name: system_deltas_withdraw!
UPDATE chats SET version = version - 1
FROM json_each(:chats) AS chat
WHERE chats.organisation_id = chat.value ->> 0 AND chats.id = chat.value ->> 1;

-- name: system_events_heads^
-- How far the journals of these chats go.
SELECT json_group_array(json_array(chats.organisation_id, chats.id, chats.version))
FROM json_each(:places) AS place
JOIN chats ON chats.organisation_id = place.value ->> 0 AND chats.id = place.value ->> 1;
