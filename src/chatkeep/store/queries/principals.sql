-- name: principal_insert!
INSERT INTO principals
    (organisation_id, id, kind, role, name, email, external_id, profile_image_url, password_hash, session_stamp, created_at)
VALUES
    (:organisation_id, :id, :kind, :role, :name, :email, :external_id, :profile_image_url, :password_hash, :session_stamp,
     :created_at);

-- name: principal_get^
SELECT organisation_id, id, kind, role, name, email, external_id, profile_image_url, password_hash, session_stamp,
       created_at, disabled_at
FROM principals WHERE organisation_id = :organisation_id AND id = :id;

-- name: principal_get_by_external_id^
SELECT organisation_id, id, kind, role, name, email, external_id, profile_image_url, password_hash, session_stamp,
       created_at, disabled_at
FROM principals WHERE organisation_id = :organisation_id AND external_id = :external_id;

-- name: principals_all
SELECT organisation_id, id, kind, role, name, email, external_id, profile_image_url, password_hash, session_stamp,
       created_at, disabled_at
FROM principals WHERE organisation_id = :organisation_id ORDER BY created_at, id;

-- name: system_principal_get_by_email^
-- An e-mail address names one person on the whole server: signing in does not say the organisation.
SELECT organisation_id, id, kind, role, name, email, external_id, profile_image_url, password_hash, session_stamp,
       created_at, disabled_at
FROM principals WHERE email = :email;

-- name: principals_with_email_count^
SELECT count(*) FROM principals WHERE organisation_id = :organisation_id AND email IS NOT NULL;

-- name: system_principal_get^
-- A session token names its person and organisation; both are checked in the same read.
SELECT p.organisation_id, p.id, p.kind, p.role, p.name, p.session_stamp, p.disabled_at, o.suspended_at
FROM principals p JOIN organisations o ON o.id = p.organisation_id
WHERE p.organisation_id = :of_organisation AND p.id = :id;

-- name: principal_set_role!
UPDATE principals SET role = :role WHERE organisation_id = :organisation_id AND id = :id;

-- name: principal_set_disabled!
UPDATE principals SET disabled_at = :disabled_at, session_stamp = :session_stamp
WHERE organisation_id = :organisation_id AND id = :id;
