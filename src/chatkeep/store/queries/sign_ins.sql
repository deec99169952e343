-- name: system_sign_ins_take^
-- The row is held from here on: attempts that are made at once are counted one after the other.
INSERT INTO sign_ins (kind, subject, times, last_at) VALUES (:kind, :subject, '[]', :now)
ON CONFLICT (kind, subject) DO UPDATE SET last_at = excluded.last_at
RETURNING times;

-- name: system_sign_ins_put!
UPDATE sign_ins SET times = :times WHERE kind = :kind AND subject = :subject;

-- name: system_sign_ins_forget!
DELETE FROM sign_ins WHERE last_at <= :before;
