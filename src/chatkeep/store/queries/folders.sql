-- name: folder_insert!
INSERT INTO folders (organisation_id, id, owner_id, name, created_at, updated_at)
VALUES (:organisation_id, :id, :owner_id, :name, :created_at, :created_at);

-- name: folder_get^
-- locks: folders
SELECT id, owner_id, name, created_at, updated_at
FROM folders WHERE organisation_id = :organisation_id AND id = :id;

-- name: folders_of
SELECT id, owner_id, name, created_at, updated_at
FROM folders WHERE organisation_id = :organisation_id AND owner_id = :owner_id ORDER BY name, id;

-- name: folder_rename!
UPDATE folders SET name = :name, updated_at = :updated_at WHERE organisation_id = :organisation_id AND id = :id;

-- name: folder_delete!
DELETE FROM folders WHERE organisation_id = :organisation_id AND id = :id;

-- name: folder_empty
-- The chats of a deleted folder stay, outside of any folder.
UPDATE chats SET folder_id = NULL, updated_at = :updated_at, version = version + 1
WHERE organisation_id = :organisation_id AND folder_id = :id
RETURNING id, version;
