-- name: run_insert!
INSERT INTO runs (organisation_id, id, chat_id, question_id, answer_id, model_id, state, started_at)
VALUES (:organisation_id, :id, :chat_id, :question_id, :answer_id, :model_id, 'running', :started_at);

-- name: run_end!
UPDATE runs SET state = :state, ended_at = :ended_at, error = :error
WHERE organisation_id = :organisation_id AND id = :id AND state = 'running';

-- name: runs_running_count^
SELECT count(*) FROM runs WHERE organisation_id = :organisation_id AND state = 'running';

-- name: system_runs_interrupt_chats!
-- After a restart nobody works on what was running before it: the chats say so, with text and time.
UPDATE chats SET status = 'error', last_error = :error, last_error_at = :now, updated_at = :now, version = version + 1
WHERE status = 'generating';

-- name: system_runs_interrupt!
UPDATE runs SET state = 'failed', ended_at = :now, error = :error WHERE state = 'running';
