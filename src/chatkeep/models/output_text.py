"""What a model said, made fit to store: NUL and lone surrogates become U+FFFD. Model output is never refused.

A character outside the basic plane may come as two escaped halves in two chunks, so a trailing high surrogate is held
back until its other half arrives.
"""

from __future__ import annotations

REPLACEMENT = "\ufffd"


def clean(text: str) -> str:
    """`text` with surrogate pairs joined, and NUL and lone surrogates replaced by U+FFFD."""
    text = text.replace("\0", REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class OutputText:
    """One channel of one answer, cleaned piece by piece."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """What is certain after `text`; may be empty while half a character is held back."""
        text = self._held + text
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return clean(text)

    def flush(self) -> str:
        """What stands in for a half whose other half never came: U+FFFD, or nothing."""
        text, self._held = clean(self._held), ""
        return text
