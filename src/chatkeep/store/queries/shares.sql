-- name: share_insert!
INSERT INTO shares (organisation_id, id, chat_id, snapshot, created_at, updated_at)
VALUES (:organisation_id, :id, :chat_id, :snapshot, :updated_at, :updated_at);

-- name: share_refresh!
UPDATE shares SET snapshot = :snapshot, updated_at = :updated_at
WHERE organisation_id = :organisation_id AND id = :id;

-- name: share_get^
SELECT id, chat_id, snapshot, created_at, updated_at
FROM shares WHERE organisation_id = :organisation_id AND id = :id;

-- name: share_delete!
DELETE FROM shares WHERE organisation_id = :organisation_id AND chat_id = :chat_id;

-- name: share_mark^
UPDATE chats SET share_id = :share_id, updated_at = :updated_at, version = version + 1
WHERE organisation_id = :organisation_id AND id = :chat_id
RETURNING version;
