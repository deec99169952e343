"""Where it stays: named SQL, one module a noun that turns rows into domain values, and the port with its plugs."""
