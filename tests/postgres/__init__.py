"""A real PostgreSQL for the tests: a server in a folder, one shared by a whole run, and fresh databases on it.

`server.Postgres` is one running server, `shared.shared_server` the one that all workers of a run have in common, and
`databases.Databases` hands out databases that nobody has written to. Tests use the fixtures of `fixtures`.
By hand and for benchmarks: `python -m tests.postgres`.
"""
