-- name: credential_insert!
INSERT INTO credentials
    (organisation_id, id, principal_id, kind, name, display, secret_hash, pepper_version, scopes, created_at, expires_at)
VALUES
    (:organisation_id, :id, :principal_id, :kind, :name, :display, :secret_hash, :pepper_version, :scopes, :created_at,
     :expires_at);

-- name: credential_get^
SELECT organisation_id, id, principal_id, kind, name, display, scopes, created_at, expires_at, revoked_at, last_used_at
FROM credentials WHERE organisation_id = :organisation_id AND id = :id;

-- name: credentials_all
SELECT organisation_id, id, principal_id, kind, name, display, scopes, created_at, expires_at, revoked_at, last_used_at
FROM credentials WHERE organisation_id = :organisation_id ORDER BY created_at, id;

-- name: credential_revoke!
UPDATE credentials SET revoked_at = :revoked_at
WHERE organisation_id = :organisation_id AND id = :id AND revoked_at IS NULL;

-- name: credential_used!
UPDATE credentials SET last_used_at = :last_used_at WHERE organisation_id = :organisation_id AND id = :id;

-- name: system_credential_by_secret^
-- Who holds this secret: the one read that comes before an organisation is known.
SELECT c.organisation_id, c.id, c.principal_id, c.kind, c.scopes, c.expires_at, c.revoked_at, c.last_used_at,
       p.kind, p.role, p.name, p.disabled_at, o.suspended_at
FROM credentials c
JOIN principals p ON p.organisation_id = c.organisation_id AND p.id = c.principal_id
JOIN organisations o ON o.id = c.organisation_id
WHERE c.secret_hash = :secret_hash;

-- name: system_credential_by_id^
-- Whether the client behind an access token may still use it.
SELECT c.organisation_id, c.id, c.principal_id, c.kind, c.scopes, c.expires_at, c.revoked_at, c.last_used_at,
       p.kind, p.role, p.name, p.disabled_at, o.suspended_at
FROM credentials c
JOIN principals p ON p.organisation_id = c.organisation_id AND p.id = c.principal_id
JOIN organisations o ON o.id = c.organisation_id
WHERE c.id = :id;
