-- name: system_check_references
-- PostgreSQL keeps its references by itself; but not those that were never looked through.
SELECT NULL, NULL, conrelid::regclass::text, confrelid::regclass::text, 1
FROM pg_constraint WHERE NOT convalidated AND connamespace = current_schema()::regnamespace LIMIT :row_limit;

-- name: system_check_file
SELECT NULL, NULL, 'the index ' || indexrelid::regclass::text || ' is not whole'
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace LIMIT :row_limit;

-- name: system_check_begin^
-- However long it takes; and by hashes, as only they use all columns of a join: an index by organisation and chat alone
-- looks as good to the planner while nobody has analysed the table, and costs the square of a long chat.
SELECT set_config('statement_timeout', '0', true), set_config('enable_nestloop', 'off', true),
       set_config('enable_mergejoin', 'off', true);
