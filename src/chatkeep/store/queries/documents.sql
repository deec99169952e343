-- name: document_insert!
INSERT INTO documents
    (organisation_id, chat_id, id, filename, content_type, size_bytes, sha256, content, created_by, created_at)
VALUES
    (:organisation_id, :chat_id, :id, :filename, :content_type, :size_bytes, :sha256, :content, :created_by, :created_at);

-- name: documents_of
SELECT id, chat_id, filename, content_type, size_bytes, sha256, created_by, created_at
FROM documents WHERE organisation_id = :organisation_id AND chat_id = :chat_id ORDER BY id;

-- name: document_get^
SELECT id, chat_id, filename, content_type, size_bytes, sha256, created_by, created_at, content
FROM documents WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND id = :id;

-- name: document_delete!
DELETE FROM documents WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND id = :id;

-- name: document_count^
UPDATE chats SET documents_count = documents_count + :change, updated_at = :updated_at, version = version + 1
WHERE organisation_id = :organisation_id AND id = :chat_id
RETURNING version, documents_count;
