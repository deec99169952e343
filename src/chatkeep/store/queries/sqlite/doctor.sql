-- name: system_check_references
SELECT NULL, NULL, "table", "parent", count(*) FROM pragma_foreign_key_check GROUP BY 3, 4 LIMIT :row_limit;

-- name: system_check_file
SELECT NULL, NULL, integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' LIMIT :row_limit;

-- name: system_check_begin^
-- Nothing ends it before its time here.
SELECT 1;
