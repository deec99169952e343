-- name: idempotency_get^
SELECT fingerprint, status, body, headers FROM idempotency
WHERE organisation_id = :organisation_id AND principal_id = :principal_id AND route = :route AND key = :key;

-- name: idempotency_claim!
-- One row for whoever comes first, or first after it was forgotten; none for all others, who wait for that one's end.
INSERT INTO idempotency (organisation_id, principal_id, route, key, fingerprint, created_at)
VALUES (:organisation_id, :principal_id, :route, :key, :fingerprint, :created_at)
ON CONFLICT (organisation_id, principal_id, route, key) DO UPDATE SET
    chat_id = NULL, fingerprint = excluded.fingerprint, status = NULL, body = NULL, headers = '{}',
    created_at = excluded.created_at
WHERE idempotency.created_at <= :not_before;

-- name: idempotency_note!
UPDATE idempotency SET chat_id = :chat_id, status = :status, body = :body, headers = :headers
WHERE organisation_id = :organisation_id AND principal_id = :principal_id AND route = :route AND key = :key;

-- name: idempotency_answer!
UPDATE idempotency SET status = :status, body = :body
WHERE organisation_id = :organisation_id AND principal_id = :principal_id AND route = :route AND key = :key;

-- name: system_idempotency_forget!
DELETE FROM idempotency WHERE created_at <= :not_before;
