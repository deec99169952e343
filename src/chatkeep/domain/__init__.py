"""What things are: frozen values, ids, errors, limits, text rules. Pure; no I/O, no framework."""
