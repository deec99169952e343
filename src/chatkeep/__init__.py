"""chatkeep: a self-hosted chat server. One durable store, any dialect, nothing lost."""

__version__ = "0.1.0"
