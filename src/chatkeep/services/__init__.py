"""What one can do: one module a noun, one function a verb; the first argument is the caller's context."""
