-- name: system_agreement_propose!
INSERT INTO agreements (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING;

-- name: system_agreement_get^
SELECT value FROM agreements WHERE name = :name;

-- name: system_agreement_end!
DELETE FROM agreements WHERE name = :name;
