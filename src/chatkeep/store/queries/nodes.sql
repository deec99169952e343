-- name: system_node_seen!
INSERT INTO nodes (id, name, version, started_at, seen_at, streams, runs)
VALUES (:id, :name, :version, :started_at, :seen_at, :streams, :runs)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, streams = excluded.streams, runs = excluded.runs;

-- name: system_nodes_all
SELECT id, name, version, started_at, seen_at, streams, runs FROM nodes ORDER BY started_at, id;

-- name: system_node_gone!
DELETE FROM nodes WHERE id = :id;

-- name: system_nodes_forget!
DELETE FROM nodes WHERE seen_at <= :before AND id <> :me;

-- name: system_streams_forget!
DELETE FROM open_streams WHERE node_id NOT IN (SELECT id FROM nodes);

-- name: system_sockets_forget!
DELETE FROM open_sockets WHERE node_id NOT IN (SELECT id FROM nodes);

-- name: system_duty_take!
-- One row for whoever holds it, and for the first who asks once it is held no more.
INSERT INTO duties (name, holder, until) VALUES (:name, :holder, :until)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE duties.holder = excluded.holder OR duties.until <= :now;

-- name: streams_put!
INSERT INTO open_streams (organisation_id, principal_id, node_id, count)
VALUES (:organisation_id, :principal_id, :node_id, :count)
ON CONFLICT (organisation_id, principal_id, node_id) DO UPDATE SET count = excluded.count;

-- name: streams_count^
-- Of the living nodes: all of the organisation's, and the principal's own.
SELECT coalesce(sum(s.count), 0), coalesce(sum(CASE WHEN s.principal_id = :principal_id THEN s.count ELSE 0 END), 0)
FROM open_streams s JOIN nodes n ON n.id = s.node_id
WHERE s.organisation_id = :organisation_id AND n.seen_at > :alive_since;

-- name: sockets_put!
INSERT INTO open_sockets (organisation_id, chat_id, node_id, count)
VALUES (:organisation_id, :chat_id, :node_id, :count)
ON CONFLICT (organisation_id, chat_id, node_id) DO UPDATE SET count = excluded.count;

-- name: sockets_none!
DELETE FROM open_sockets
WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND node_id = :node_id;

-- name: sockets_count^
-- Of the living nodes: all of the organisation's, and those in one chat.
SELECT coalesce(sum(s.count), 0), coalesce(sum(CASE WHEN s.chat_id = :chat_id THEN s.count ELSE 0 END), 0)
FROM open_sockets s JOIN nodes n ON n.id = s.node_id
WHERE s.organisation_id = :organisation_id AND n.seen_at > :alive_since;

-- name: request_rate_take^
-- So many requests more of the tenant's current minute, or the first ones of a new one: when it began, how many now.
INSERT INTO request_rates (organisation_id, began_at, admitted) VALUES (:organisation_id, :now, :wanted)
ON CONFLICT (organisation_id) DO UPDATE SET
    began_at = CASE WHEN request_rates.began_at <= :over_if_before THEN excluded.began_at ELSE request_rates.began_at END,
    admitted = CASE WHEN request_rates.began_at <= :over_if_before THEN excluded.admitted
                    ELSE request_rates.admitted + excluded.admitted END
RETURNING began_at, admitted;
