-- name: idempotency_get^
SELECT fingerprint, status, body, headers FROM idempotency
WHERE organisation_id = :organisation_id AND principal_id = :principal_id AND route = :route AND key = :key
  AND created_at > :not_before;

-- name: idempotency_put!
INSERT INTO idempotency (organisation_id, principal_id, route, key, chat_id, fingerprint, status, body, headers, created_at)
VALUES
    (:organisation_id, :principal_id, :route, :key, :chat_id, :fingerprint, :status, :body, :headers, :created_at)
ON CONFLICT (organisation_id, principal_id, route, key) DO UPDATE SET
    chat_id = excluded.chat_id, fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body,
    headers = excluded.headers, created_at = excluded.created_at;

-- name: idempotency_answer!
UPDATE idempotency SET status = :status, body = :body
WHERE organisation_id = :organisation_id AND principal_id = :principal_id AND route = :route AND key = :key;

-- name: system_idempotency_forget!
DELETE FROM idempotency WHERE created_at <= :not_before;
