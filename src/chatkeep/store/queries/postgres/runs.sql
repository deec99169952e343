-- name: system_runs_renew!
UPDATE runs SET lease_until = :lease_until
WHERE state = 'running' AND holder = :holder AND id IN (SELECT json_array_elements_text(:ids::json));
