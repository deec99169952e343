"""Benchmarks: `make bench` prints a table; nothing here is asserted in tests."""
