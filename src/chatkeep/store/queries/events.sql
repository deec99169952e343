-- name: event_insert!
INSERT INTO events (organisation_id, chat_id, seq, at, kind, run_id, message_seq, text, data)
VALUES (:organisation_id, :chat_id, :seq, :at, :kind, :run_id, :message_seq, :text, :data);

-- name: events_after
SELECT seq, at, kind, run_id, message_seq, text, data FROM events
WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND seq > :seq ORDER BY seq LIMIT :row_limit;

-- name: events_of_message
SELECT seq, data FROM events
WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND message_seq = :message_seq;

-- name: event_keep!
UPDATE events SET data = :data
WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND seq = :seq;

-- name: events_head^
-- How far the journal goes, and from where on it is whole.
SELECT version, folded_to FROM chats WHERE organisation_id = :organisation_id AND id = :chat_id;

-- name: answer_text
-- What has been said so far of an answer that is being generated.
-- CROSS JOIN: the run first, so that the events before it are not looked at.
SELECT e.text FROM runs r CROSS JOIN events e
WHERE r.organisation_id = :organisation_id AND r.answer_id = :answer_id AND r.id IN (
        SELECT id FROM runs WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND state = 'running')
  AND e.organisation_id = :organisation_id AND e.chat_id = r.chat_id AND e.seq > r.first_seq
  AND e.run_id = r.id AND e.kind = 'run.delta'
ORDER BY e.seq;

-- name: system_runs_to_fold
SELECT organisation_id, id, chat_id, first_seq, last_seq FROM runs
WHERE is_folded = 0 AND ended_at IS NOT NULL AND ended_at < :before ORDER BY ended_at LIMIT :row_limit;

-- name: system_run_fold!
-- The whole text is in the message: its pieces may go.
DELETE FROM events
WHERE organisation_id = :of_organisation AND chat_id = :chat_id AND seq > :first_seq AND seq < :last_seq
  AND run_id = :run_id AND kind IN ('run.delta', 'run.reasoning');

-- name: system_run_folded!
UPDATE runs SET is_folded = 1 WHERE organisation_id = :of_organisation AND id = :run_id;

-- name: system_chat_folded!
UPDATE chats SET folded_to = :seq
WHERE organisation_id = :of_organisation AND id = :chat_id AND folded_to < :seq;
