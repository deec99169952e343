-- name: chat_access^
-- locks: chats
-- The point query of every conditional read: who may, and which version.
SELECT owner_id, visibility, created_at, version, expires_at, deleted_at, status
FROM chats WHERE organisation_id = :organisation_id AND id = :id;

-- name: chat_is_shared_with^
SELECT 1 FROM chat_people
WHERE organisation_id = :organisation_id AND chat_id = :chat_id AND principal_id = :principal_id;

-- name: chat_get^
-- locks: c
SELECT c.organisation_id, c.id, c.owner_id, p.name, p.external_id, c.dialect, c.model_id, c.agent_id, c.title,
       c.system_prompt, c.metadata, c.extra, c.origin, c.source, c.visibility, c.status, c.last_error, c.last_error_at,
       c.session_state, c.end_reason, c.current_message_id, c.last_seq, c.is_branched, c.message_count,
       c.documents_count, c.last_message_at, c.pinned, c.archived, c.folder_id, c.share_id, c.expires_at, c.deleted_at,
       c.deleted_by, c.created_at, c.updated_at, c.version, c.tags, c.shared_with
FROM chats c LEFT JOIN principals p ON p.organisation_id = c.organisation_id AND p.id = c.owner_id
WHERE c.organisation_id = :organisation_id AND c.id = :id;

-- name: chats_of_owner
SELECT c.organisation_id, c.id, c.owner_id, p.name, p.external_id, c.dialect, c.model_id, c.agent_id, c.title,
       c.system_prompt, c.metadata, c.extra, c.origin, c.source, c.visibility, c.status, c.last_error, c.last_error_at,
       c.session_state, c.end_reason, c.current_message_id, c.last_seq, c.is_branched, c.message_count,
       c.documents_count, c.last_message_at, c.pinned, c.archived, c.folder_id, c.share_id, c.expires_at, c.deleted_at,
       c.deleted_by, c.created_at, c.updated_at, c.version, c.tags, c.shared_with
FROM chats c LEFT JOIN principals p ON p.organisation_id = c.organisation_id AND p.id = c.owner_id
WHERE c.organisation_id = :organisation_id AND c.owner_id = :owner_id
  AND (:sees_all = 1 OR c.owner_id = :principal_id
       OR (:is_deleted = 0 AND c.visibility = 'organization')
       OR (:is_deleted = 0 AND c.visibility = 'shared' AND EXISTS (
            SELECT 1 FROM chat_people s
            WHERE s.organisation_id = c.organisation_id AND s.chat_id = c.id AND s.principal_id = :principal_id)))
  AND (c.archived = :archived OR :archived IS NULL)
  AND (c.pinned = :pinned OR :pinned IS NULL)
  AND (c.folder_id = :folder_id OR :folder_id IS NULL)
  AND (c.model_id = :model_id OR :model_id IS NULL)
  AND (c.agent_id = :agent_id OR :agent_id IS NULL)
  AND (c.dialect = :dialect OR :dialect IS NULL)
  AND (EXISTS (
        SELECT 1 FROM chat_tags t
        WHERE t.organisation_id = c.organisation_id AND t.chat_id = c.id AND t.tag_id = :tag_id) OR :tag_id IS NULL)
  AND ((:is_deleted = 0 AND c.deleted_at IS NULL) OR (:is_deleted = 1 AND c.deleted_at IS NOT NULL))
  AND (c.expires_at IS NULL OR c.expires_at > :now)
  AND (c.updated_at, c.id) < (:before_updated_at, :before_id)
ORDER BY c.updated_at DESC, c.id DESC LIMIT :row_limit;

-- name: chats_of_owner_by_age
-- Every chat was updated after 0: by that SQLite takes the owner's index, and not all chats of the organisation.
SELECT c.organisation_id, c.id, c.owner_id, p.name, p.external_id, c.dialect, c.model_id, c.agent_id, c.title,
       c.system_prompt, c.metadata, c.extra, c.origin, c.source, c.visibility, c.status, c.last_error, c.last_error_at,
       c.session_state, c.end_reason, c.current_message_id, c.last_seq, c.is_branched, c.message_count,
       c.documents_count, c.last_message_at, c.pinned, c.archived, c.folder_id, c.share_id, c.expires_at, c.deleted_at,
       c.deleted_by, c.created_at, c.updated_at, c.version, c.tags, c.shared_with
FROM chats c LEFT JOIN principals p ON p.organisation_id = c.organisation_id AND p.id = c.owner_id
WHERE c.organisation_id = :organisation_id AND c.owner_id = :owner_id AND c.updated_at > 0
  AND (:sees_all = 1 OR c.owner_id = :principal_id OR c.visibility = 'organization'
       OR (c.visibility = 'shared' AND EXISTS (
            SELECT 1 FROM chat_people s
            WHERE s.organisation_id = c.organisation_id AND s.chat_id = c.id AND s.principal_id = :principal_id)))
  AND c.deleted_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > :now)
ORDER BY c.created_at DESC, c.id DESC LIMIT :row_limit OFFSET :row_offset;

-- name: chats_readable
SELECT c.organisation_id, c.id, c.owner_id, p.name, p.external_id, c.dialect, c.model_id, c.agent_id, c.title,
       c.system_prompt, c.metadata, c.extra, c.origin, c.source, c.visibility, c.status, c.last_error, c.last_error_at,
       c.session_state, c.end_reason, c.current_message_id, c.last_seq, c.is_branched, c.message_count,
       c.documents_count, c.last_message_at, c.pinned, c.archived, c.folder_id, c.share_id, c.expires_at, c.deleted_at,
       c.deleted_by, c.created_at, c.updated_at, c.version, c.tags, c.shared_with
FROM chats c LEFT JOIN principals p ON p.organisation_id = c.organisation_id AND p.id = c.owner_id
WHERE c.organisation_id = :organisation_id
  AND (:sees_all = 1 OR c.owner_id = :principal_id
       OR (:is_deleted = 0 AND c.visibility = 'organization')
       OR (:is_deleted = 0 AND c.visibility = 'shared' AND EXISTS (
            SELECT 1 FROM chat_people s
            WHERE s.organisation_id = c.organisation_id AND s.chat_id = c.id AND s.principal_id = :principal_id)))
  AND (c.archived = :archived OR :archived IS NULL)
  AND (c.pinned = :pinned OR :pinned IS NULL)
  AND (c.folder_id = :folder_id OR :folder_id IS NULL)
  AND (c.model_id = :model_id OR :model_id IS NULL)
  AND (c.agent_id = :agent_id OR :agent_id IS NULL)
  AND (c.dialect = :dialect OR :dialect IS NULL)
  AND (EXISTS (
        SELECT 1 FROM chat_tags t
        WHERE t.organisation_id = c.organisation_id AND t.chat_id = c.id AND t.tag_id = :tag_id) OR :tag_id IS NULL)
  AND ((:is_deleted = 0 AND c.deleted_at IS NULL) OR (:is_deleted = 1 AND c.deleted_at IS NOT NULL))
  AND (c.expires_at IS NULL OR c.expires_at > :now)
  AND (c.updated_at, c.id) < (:before_updated_at, :before_id)
ORDER BY c.updated_at DESC, c.id DESC LIMIT :row_limit;

-- name: chats_of_owner_count^
-- Every chat was updated after 0: by that SQLite takes the owner's index, and not all chats of the organisation.
SELECT count(*) FROM chats c LEFT JOIN principals p ON p.organisation_id = c.organisation_id AND p.id = c.owner_id
WHERE c.organisation_id = :organisation_id AND c.owner_id = :owner_id AND c.updated_at > 0
  AND (:sees_all = 1 OR c.owner_id = :principal_id
       OR (:is_deleted = 0 AND c.visibility = 'organization')
       OR (:is_deleted = 0 AND c.visibility = 'shared' AND EXISTS (
            SELECT 1 FROM chat_people s
            WHERE s.organisation_id = c.organisation_id AND s.chat_id = c.id AND s.principal_id = :principal_id)))
  AND (c.archived = :archived OR :archived IS NULL)
  AND (c.pinned = :pinned OR :pinned IS NULL)
  AND (c.folder_id = :folder_id OR :folder_id IS NULL)
  AND (c.model_id = :model_id OR :model_id IS NULL)
  AND (c.agent_id = :agent_id OR :agent_id IS NULL)
  AND (c.dialect = :dialect OR :dialect IS NULL)
  AND (EXISTS (
        SELECT 1 FROM chat_tags t
        WHERE t.organisation_id = c.organisation_id AND t.chat_id = c.id AND t.tag_id = :tag_id) OR :tag_id IS NULL)
  AND ((:is_deleted = 0 AND c.deleted_at IS NULL) OR (:is_deleted = 1 AND c.deleted_at IS NOT NULL))
  AND (c.expires_at IS NULL OR c.expires_at > :now);

-- name: chats_readable_count^
SELECT count(*) FROM chats c LEFT JOIN principals p ON p.organisation_id = c.organisation_id AND p.id = c.owner_id
WHERE c.organisation_id = :organisation_id
  AND (:sees_all = 1 OR c.owner_id = :principal_id
       OR (:is_deleted = 0 AND c.visibility = 'organization')
       OR (:is_deleted = 0 AND c.visibility = 'shared' AND EXISTS (
            SELECT 1 FROM chat_people s
            WHERE s.organisation_id = c.organisation_id AND s.chat_id = c.id AND s.principal_id = :principal_id)))
  AND (c.archived = :archived OR :archived IS NULL)
  AND (c.pinned = :pinned OR :pinned IS NULL)
  AND (c.folder_id = :folder_id OR :folder_id IS NULL)
  AND (c.model_id = :model_id OR :model_id IS NULL)
  AND (c.agent_id = :agent_id OR :agent_id IS NULL)
  AND (c.dialect = :dialect OR :dialect IS NULL)
  AND (EXISTS (
        SELECT 1 FROM chat_tags t
        WHERE t.organisation_id = c.organisation_id AND t.chat_id = c.id AND t.tag_id = :tag_id) OR :tag_id IS NULL)
  AND ((:is_deleted = 0 AND c.deleted_at IS NULL) OR (:is_deleted = 1 AND c.deleted_at IS NOT NULL))
  AND (c.expires_at IS NULL OR c.expires_at > :now);

-- name: chat_insert!
INSERT INTO chats
    (organisation_id, id, owner_id, dialect, model_id, agent_id, title, system_prompt, metadata, extra, origin, source,
     visibility, session_state, pinned, archived, folder_id, tags, shared_with, expires_at, created_at, updated_at)
VALUES
    (:organisation_id, :id, :owner_id, :dialect, :model_id, :agent_id, :title, :system_prompt, :metadata, :extra, :origin,
     :source, :visibility, 'ongoing', :pinned, :archived, :folder_id, :tags, :shared_with, :expires_at, :created_at,
     :created_at);

-- name: chat_update^
UPDATE chats SET
    title = :title, system_prompt = :system_prompt, metadata = :metadata, extra = :extra, model_id = :model_id,
    visibility = :visibility, tags = :tags, shared_with = :shared_with, folder_id = :folder_id, pinned = :pinned,
    archived = :archived, session_state = :session_state, end_reason = :end_reason,
    current_message_id = :current_message_id, is_branched = :is_branched, message_count = :message_count,
    updated_at = :updated_at, version = version + 1
WHERE organisation_id = :organisation_id AND id = :id
RETURNING version;

-- name: chat_appending^
-- locks: chats
-- What an append must know, and no more.
SELECT owner_id, visibility, created_at, version, expires_at, deleted_at, title, status, session_state,
       current_message_id, last_seq, is_branched, message_count, updated_at
FROM chats WHERE organisation_id = :organisation_id AND id = :id;

-- name: chat_appended^
UPDATE chats SET
    title = :title, current_message_id = :current_message_id, last_seq = :last_seq, is_branched = :is_branched,
    message_count = :message_count, last_message_at = :last_message_at, updated_at = :updated_at, version = version + :events
WHERE organisation_id = :organisation_id AND id = :id
RETURNING version;

-- name: chat_set_status^
UPDATE chats SET
    status = :status, last_error = :last_error, last_error_at = :last_error_at, model_id = coalesce(:model_id, model_id),
    updated_at = :updated_at, version = version + :events
WHERE organisation_id = :organisation_id AND id = :id
RETURNING version;

-- name: chat_advance^
-- Room for events that move nothing else of the chat.
UPDATE chats SET version = version + :events WHERE organisation_id = :organisation_id AND id = :id
RETURNING version;

-- name: chat_give_title^
-- A model's title, in place of the one that was made from the first message, if that is still there.
UPDATE chats SET title = :title, version = version + 1
WHERE organisation_id = :organisation_id AND id = :id AND title = :before AND deleted_at IS NULL
RETURNING version;

-- name: chat_soft_delete^
UPDATE chats SET deleted_at = :now, deleted_by = :deleted_by, updated_at = :now, version = version + 1
WHERE organisation_id = :organisation_id AND id = :id
RETURNING version;

-- name: chat_restore^
UPDATE chats SET deleted_at = NULL, deleted_by = NULL, updated_at = :now, version = version + 1
WHERE organisation_id = :organisation_id AND id = :id
RETURNING version;

-- name: chat_purge!
DELETE FROM chats WHERE organisation_id = :organisation_id AND id = :id;

-- name: chat_tags_clear!
DELETE FROM chat_tags WHERE organisation_id = :organisation_id AND chat_id = :chat_id;

-- name: chat_tag_insert!
INSERT INTO chat_tags (organisation_id, chat_id, tag_id, name, position)
VALUES (:organisation_id, :chat_id, :tag_id, :name, :position);

-- name: chat_people_clear!
DELETE FROM chat_people WHERE organisation_id = :organisation_id AND chat_id = :chat_id;

-- name: chat_people_insert!
INSERT INTO chat_people (organisation_id, chat_id, principal_id) VALUES (:organisation_id, :chat_id, :principal_id);

-- name: system_chats_expired
SELECT organisation_id, id FROM chats WHERE expires_at IS NOT NULL AND expires_at <= :now ORDER BY expires_at LIMIT :row_limit;

-- name: system_chats_deleted
SELECT organisation_id, id FROM chats WHERE deleted_at IS NOT NULL AND deleted_at <= :before ORDER BY deleted_at LIMIT :row_limit;

-- name: system_chat_purge_deleted!
DELETE FROM chats WHERE organisation_id = :of_organisation AND id = :id AND deleted_at <= :before;

-- name: system_chat_purge_expired!
DELETE FROM chats WHERE organisation_id = :of_organisation AND id = :id AND expires_at <= :now;
