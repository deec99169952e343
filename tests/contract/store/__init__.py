"""The contract of the store's port: abstract suites over a fixture `place`, one subclass an engine."""
