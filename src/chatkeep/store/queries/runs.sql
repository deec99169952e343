-- name: run_insert!
INSERT INTO runs
    (organisation_id, id, chat_id, principal_id, question_id, answer_id, model_id, wish, request, state, first_seq, epoch, holder,
     lease_until, reserved_tokens, started_at)
VALUES
    (:organisation_id, :id, :chat_id, :principal_id, :question_id, :answer_id, :model_id, :wish, :request, 'running', :first_seq,
     1, :holder, :lease_until, :reserved_tokens, :started_at);

-- name: run_end^
-- Only who holds the newest lease may end a run, and only once. Its wish was for whoever had taken it over.
UPDATE runs SET
    wish = '{}', state = :state, ended_at = :ended_at, last_seq = :last_seq, error = :error, input_tokens = :input_tokens,
    output_tokens = :output_tokens, cost = :cost, response_time_ms = :response_time_ms
WHERE organisation_id = :organisation_id AND id = :id AND state = 'running' AND epoch = :epoch
RETURNING reserved_tokens;

-- name: run_holds^
-- locks: c, r
-- The chat with it, as whoever asks is about to write there.
SELECT r.stop_requested_at IS NULL
FROM runs r JOIN chats c ON c.organisation_id = r.organisation_id AND c.id = r.chat_id
WHERE r.organisation_id = :organisation_id AND r.id = :id AND r.state = 'running' AND r.epoch = :epoch;

-- name: run_get^
SELECT organisation_id, id, chat_id, principal_id, question_id, answer_id, model_id, wish, request, state, first_seq, epoch, holder,
       lease_until, stop_requested_at, input_tokens, output_tokens, cost, response_time_ms, started_at, ended_at, error
FROM runs WHERE organisation_id = :organisation_id AND id = :id;

-- name: runs_of_chat
-- Here and below: the index of a chat's runs names them, and the rows are found by their ids. Asked at once, SQLite
-- walks through all runs of the organisation instead.
SELECT organisation_id, id, chat_id, principal_id, question_id, answer_id, model_id, wish, request, state, first_seq, epoch, holder,
       lease_until, stop_requested_at, input_tokens, output_tokens, cost, response_time_ms, started_at, ended_at, error
FROM runs WHERE organisation_id = :organisation_id AND id IN (
    SELECT id FROM runs
    WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND id < :before_id ORDER BY id DESC LIMIT :row_limit)
ORDER BY id DESC;

-- name: runs_running_in
SELECT organisation_id, id, chat_id, principal_id, question_id, answer_id, model_id, wish, request, state, first_seq, epoch, holder,
       lease_until, stop_requested_at, input_tokens, output_tokens, cost, response_time_ms, started_at, ended_at, error
FROM runs WHERE organisation_id = :organisation_id AND id IN (
    SELECT id FROM runs WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND state = 'running')
ORDER BY id;

-- name: runs_running_count^
SELECT count(*), coalesce(sum(reserved_tokens), 0) FROM runs
WHERE organisation_id = :organisation_id AND id IN (
    SELECT id FROM runs WHERE organisation_id = :organisation_id AND state = 'running');

-- name: run_ask_to_stop!
UPDATE runs SET stop_requested_at = :now
WHERE organisation_id = :organisation_id AND stop_requested_at IS NULL AND (id = :run_id OR :run_id IS NULL) AND id IN (
    SELECT id FROM runs WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND state = 'running');

-- name: run_take^
-- A new holder, and with the new epoch nobody else's writes count any more.
UPDATE runs SET epoch = epoch + 1, holder = :holder, lease_until = :lease_until
WHERE organisation_id = :organisation_id AND id = :id AND state = 'running' AND epoch = :epoch
RETURNING epoch;

-- name: run_release!
-- Handed over: whoever looks next may take it at once.
UPDATE runs SET lease_until = :now, holder = NULL
WHERE organisation_id = :organisation_id AND id = :id AND state = 'running' AND epoch = :epoch;

-- name: system_runs_unheld
-- Runs whose holder let go of them or is dead: past their lease, or of a holder that can live no more (:only_me is the
-- one process of a store that has but one).
SELECT organisation_id, id, epoch, holder, stop_requested_at FROM runs
WHERE state = 'running' AND (lease_until <= :now OR (coalesce(holder, '') <> :only_me AND :only_me IS NOT NULL))
ORDER BY lease_until LIMIT :row_limit;

-- name: system_runs_asked_to_stop
SELECT organisation_id, id FROM runs WHERE state = 'running' AND holder = :holder AND stop_requested_at IS NOT NULL;

-- name: budget_get^
SELECT started_at, tokens FROM budgets WHERE organisation_id = :organisation_id;

-- name: budget_put!
INSERT INTO budgets (organisation_id, started_at, tokens) VALUES (:organisation_id, :started_at, :tokens)
ON CONFLICT (organisation_id) DO UPDATE SET started_at = excluded.started_at, tokens = excluded.tokens;

-- name: budget_add!
INSERT INTO budgets (organisation_id, started_at, tokens) VALUES (:organisation_id, :now, :tokens)
ON CONFLICT (organisation_id) DO UPDATE SET tokens = budgets.tokens + excluded.tokens;
