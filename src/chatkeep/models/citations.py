"""The web pages that an answer names as its sources, out of the fields that different providers put them in.

OpenAI and OpenRouter annotate the message (`url_citation`), Perplexity sends lists beside the choices, with every chunk
anew. Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from chatkeep.models.output_text import clean
from chatkeep.models.port import SOURCES_MAX, Source

URL_CHARACTERS_MAX = 2_000
TITLE_CHARACTERS_MAX = 512
TEXT_CHARACTERS_MAX = 2_000
_Named = tuple[object, object, object]  # address, title, text


class Citations:
    """The sources of one answer as far as they were heard."""

    def __init__(self) -> None:
        self._heard: dict[str, Source] = {}

    def hear_notes(self, notes: object) -> list[Source]:
        """What is new in a message's `annotations`: pages, and more about pages heard of before."""
        return self._news(_annotated(notes))

    def hear_lists(self, chunk: dict[str, Any]) -> list[Source]:
        """What is new in the lists beside a chunk's choices."""
        return self._news(_listed(chunk))

    def _news(self, found: Iterator[_Named]) -> list[Source]:
        news = []
        for url, title, text in found:
            if not isinstance(url, str) or not _is_page(url):
                continue
            before = self._heard.get(url)
            if before is None and len(self._heard) == SOURCES_MAX:
                continue
            known = _known(before, url, title, text)
            if known != before:
                self._heard[url] = known
                news.append(known)
        return news


def _annotated(notes: object) -> Iterator[_Named]:
    for note in _objects(notes):
        if note.get("type") == "url_citation":
            inner = note.get("url_citation")
            cited = inner if isinstance(inner, dict) else note
            yield cited.get("url"), cited.get("title"), cited.get("content")


def _listed(chunk: dict[str, Any]) -> Iterator[_Named]:
    for page in _objects(chunk.get("search_results")):
        yield page.get("url"), page.get("title"), page.get("snippet")
    urls = chunk.get("citations")
    for url in urls if isinstance(urls, list) else ():
        yield url, None, None


def _known(before: Source | None, url: str, title: object, text: object) -> Source:
    now = Source(url, _short(title, TITLE_CHARACTERS_MAX), _short(text, TEXT_CHARACTERS_MAX))
    return now if before is None else Source(url, before.title or now.title, before.text or now.text)


def _is_page(url: str) -> bool:
    if not url.isprintable() or " " in url or len(url) > URL_CHARACTERS_MAX:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _short(text: object, characters_max: int) -> str | None:
    return (clean(text)[:characters_max] or None) if isinstance(text, str) else None


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
