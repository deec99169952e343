"""How we speak HTTP, shared by all dialects."""
