-- Each of these finds what is wrong, and nothing in a sound store: organisation, chat, and what the sentence in
-- `services.doctor` speaks of. They read whole tables, once each; only `chatkeep doctor` runs them.

-- name: system_check_message_count
SELECT c.organisation_id, c.id, c.message_count, coalesce(m.turn_number, 0)
FROM chats c
LEFT JOIN messages m ON m.organisation_id = c.organisation_id AND m.chat_id = c.id AND m.id = c.current_message_id
WHERE c.message_count <> coalesce(m.turn_number, 0) LIMIT :row_limit;

-- name: system_check_documents_count
SELECT c.organisation_id, c.id, c.documents_count, coalesce(d.counted, 0)
FROM chats c
LEFT JOIN (SELECT organisation_id, chat_id, count(*) AS counted FROM documents GROUP BY organisation_id, chat_id) d
    ON d.organisation_id = c.organisation_id AND d.chat_id = c.id
WHERE c.documents_count <> coalesce(d.counted, 0) LIMIT :row_limit;

-- name: system_check_last_message_at
SELECT c.organisation_id, c.id, c.last_message_at, m.created_at
FROM chats c
LEFT JOIN messages m ON m.organisation_id = c.organisation_id AND m.chat_id = c.id AND m.seq = c.last_seq
WHERE c.last_message_at IS DISTINCT FROM m.created_at LIMIT :row_limit;

-- name: system_check_last_seq
SELECT c.organisation_id, c.id, c.last_seq, coalesce(m.counted, 0), coalesce(m.highest, 0)
FROM chats c
LEFT JOIN (
    SELECT organisation_id, chat_id, count(*) AS counted, min(seq) AS lowest, max(seq) AS highest
    FROM messages GROUP BY organisation_id, chat_id) m ON m.organisation_id = c.organisation_id AND m.chat_id = c.id
WHERE c.last_seq <> coalesce(m.counted, 0) OR c.last_seq <> coalesce(m.highest, 0) OR coalesce(m.lowest, 1) <> 1
LIMIT :row_limit;

-- name: system_check_turn_numbers
SELECT m.organisation_id, m.chat_id, m.id, m.turn_number,
       coalesce(p.turn_number, 0) + CASE WHEN m.role IN ('user', 'assistant') THEN 1 ELSE 0 END
FROM messages m
LEFT JOIN messages p ON p.organisation_id = m.organisation_id AND p.chat_id = m.chat_id AND p.id = m.parent_id
WHERE m.turn_number <> coalesce(p.turn_number, 0) + CASE WHEN m.role IN ('user', 'assistant') THEN 1 ELSE 0 END LIMIT :row_limit;

-- name: system_check_heads
SELECT c.organisation_id, c.id, c.current_message_id
FROM chats c
LEFT JOIN messages m ON m.organisation_id = c.organisation_id AND m.chat_id = c.id AND m.id = c.current_message_id
WHERE m.id IS NULL AND (c.current_message_id IS NOT NULL OR c.last_seq > 0) LIMIT :row_limit;

-- name: system_check_trees
SELECT m.organisation_id, m.chat_id, m.id, m.parent_id
FROM messages m
LEFT JOIN messages p ON p.organisation_id = m.organisation_id AND p.chat_id = m.chat_id AND p.id = m.parent_id
WHERE m.parent_id IS NOT NULL AND (p.seq IS NULL OR p.seq >= m.seq) LIMIT :row_limit;

-- name: system_check_sequences
-- Up to folded_to some may be gone; from there on every one is there, and none is beyond the chat's version.
SELECT c.organisation_id, c.id, c.version, c.folded_to, coalesce(e.counted, 0), coalesce(e.highest, 0)
FROM chats c
LEFT JOIN (
    SELECT j.organisation_id, j.chat_id, count(*) FILTER (WHERE j.seq > k.folded_to) AS counted, min(j.seq) AS lowest, max(j.seq) AS highest
    FROM chats k JOIN events j ON j.organisation_id = k.organisation_id AND j.chat_id = k.id
    GROUP BY j.organisation_id, j.chat_id) e ON e.organisation_id = c.organisation_id AND e.chat_id = c.id
WHERE c.folded_to > c.version OR coalesce(e.counted, 0) <> c.version - c.folded_to
      OR coalesce(e.highest, 0) <> c.version OR coalesce(e.lowest, 0) < 1
LIMIT :row_limit;

-- name: system_check_named_messages
SELECT e.organisation_id, e.chat_id, e.seq, e.message_seq
FROM events e
LEFT JOIN messages m ON m.organisation_id = e.organisation_id AND m.chat_id = e.chat_id AND m.seq = e.message_seq
WHERE e.message_seq IS NOT NULL AND m.id IS NULL LIMIT :row_limit;

-- name: system_check_run_ends
-- Of every run that is over exactly one event says so, in its own words and place; of a running one none does.
SELECT r.organisation_id, r.chat_id, r.id, r.state, coalesce(e.counted, 0)
FROM runs r
LEFT JOIN (
    SELECT organisation_id, chat_id, run_id, count(*) AS counted, max(kind) AS kind, max(seq) AS seq
    FROM events WHERE kind IN ('run.completed', 'run.stopped', 'run.failed')
    GROUP BY organisation_id, chat_id, run_id) e
    ON e.organisation_id = r.organisation_id AND e.chat_id = r.chat_id AND e.run_id = r.id
WHERE CASE r.state WHEN 'running' THEN e.counted IS NOT NULL
      ELSE e.counted IS DISTINCT FROM 1 OR e.kind <> 'run.' || r.state OR e.seq IS DISTINCT FROM r.last_seq END
LIMIT :row_limit;

-- name: system_check_run_events
SELECT e.organisation_id, e.chat_id, e.seq, e.kind, e.run_id
FROM events e LEFT JOIN runs r ON r.organisation_id = e.organisation_id AND r.id = e.run_id
WHERE e.run_id IS NOT NULL AND (r.id IS NULL OR r.chat_id <> e.chat_id OR e.seq < r.first_seq OR e.seq > r.last_seq)
LIMIT :row_limit;

-- name: system_check_leases
-- One that was handed over has no holder: it waits for the next start, however long.
SELECT organisation_id, chat_id, id, holder FROM runs
WHERE state = 'running' AND holder IS NOT NULL AND lease_until < :lease_before LIMIT :row_limit;

-- name: system_check_generating_chats
SELECT c.organisation_id, c.id FROM chats c
WHERE c.status = 'generating' AND NOT EXISTS (
    SELECT 1 FROM runs r WHERE r.organisation_id = c.organisation_id AND r.chat_id = c.id AND r.state = 'running')
LIMIT :row_limit;

-- name: system_check_running_runs
SELECT r.organisation_id, r.chat_id, r.id FROM runs r
JOIN chats c ON c.organisation_id = r.organisation_id AND c.id = r.chat_id
WHERE r.state = 'running' AND c.status IS DISTINCT FROM 'generating' LIMIT :row_limit;

-- name: system_check_generating_messages
SELECT organisation_id, chat_id, id FROM messages
WHERE status = 'generating' AND (organisation_id, chat_id, id) NOT IN (
    SELECT organisation_id, chat_id, answer_id FROM runs WHERE state = 'running')
LIMIT :row_limit;
