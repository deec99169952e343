-- name: system_organisation_insert!
INSERT INTO organisations (id, name, created_at) VALUES (:id, :name, :created_at);

-- name: system_organisations_all
SELECT id, name, created_at, suspended_at FROM organisations ORDER BY created_at, id;

-- name: system_organisation_get^
SELECT id, name, created_at, suspended_at FROM organisations WHERE id = :id;

-- name: system_organisation_suspend!
UPDATE organisations SET suspended_at = :suspended_at WHERE id = :id;

-- name: organisation_lock^
-- locks: organisations
-- Whoever counts something of the whole organisation goes one after the other.
SELECT id FROM organisations WHERE id = :organisation_id;
