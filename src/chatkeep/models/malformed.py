"""What the parts of `completion_stream` raise for what is no chat completion."""

from __future__ import annotations


class Malformed(ValueError):
    """The upstream said something that is not a chat completion, or reported an error in the middle of it."""
