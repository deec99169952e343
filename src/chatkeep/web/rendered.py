"""Rendered chats by version: a point read of the version decides, so any number of processes may each keep one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from chatkeep.domain.chat import ChatAccess, ChatThread
from chatkeep.domain.ids import ChatId
from chatkeep.services import chats
from chatkeep.services.context import Context
from chatkeep.web import etags

Key: TypeAlias = tuple[str, str, int, int, str, str]
JSON = "application/json"
PRIVATE = {"cache-control": "private, no-cache"}
OK, UNCHANGED = 200, 304


@dataclass(frozen=True, slots=True)
class View:
    """Which rendering of a chat: `name` tells the dialect and the kind of reader, `stamp` what else the bytes depend on
    (and so the ETag), `headers` go with the answer.
    """

    name: str
    stamp: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class RenderedCache:
    """The most recently read answers, up to `bytes_max` bytes of bodies."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bodies: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> bytes | None:
        """The body, now the most recently used one."""
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
        return body

    def put(self, key: Key, body: bytes) -> None:
        """Keep a body, dropping the least recently used ones over the limit."""
        if len(body) > self._bytes_max // 4:
            return
        self._bytes += len(body) - len(self._bodies.pop(key, b""))
        self._bodies[key] = body
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._bodies.popitem(last=False)[1])


class Kept(Response):
    """An answer that the same request gets again while nothing is committed, and before `known_until_us` UTC.

    `body_key` is where the cache has its body; a 304 has neither.
    """

    media_type = JSON

    def __init__(
        self, key: Key | None, body: bytes | None, until_us: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(body, status_code=UNCHANGED if body is None else OK, headers=headers)
        self.body_key = key
        self.known_until_us = until_us


async def answer_chat(
    cache: RenderedCache,
    ctx: Context,
    request: Request,
    view: View,
    render: Callable[[ChatThread], bytes] | Callable[[ChatThread], Awaitable[bytes]],
) -> Response:
    """GET one chat: 304 if the client has this version, else the rendered answer, from the cache where it is there.

    The path parameter is `chat_id`. Raises `NotFound`, `MissingScope`.
    """
    chat_id = ChatId(request.path_params["chat_id"])
    found = await chats.peek(ctx, chat_id)
    etag = etags.write(found, view.stamp)
    asked = request.headers.get("if-none-match")
    if asked is not None and etags.matches(asked, etag):
        return Kept(None, None, _until(ctx, found), {"etag": etag, **PRIVATE})
    key = _key(ctx, chat_id, found, view)
    body = cache.get(key)
    if body is None:
        thread = await chats.read(ctx, chat_id)
        rendered = render(thread)
        body = rendered if isinstance(rendered, bytes) else await rendered
        found = thread.chat.access
        etag = etags.write(found, view.stamp)
        key = _key(ctx, chat_id, found, view)
        if found.status != "generating":
            cache.put(key, body)
    return Kept(key, body, _until(ctx, found), {"etag": etag, **PRIVATE, **view.headers})


def _until(ctx: Context, found: ChatAccess) -> int:
    if found.status == "generating":
        return 0  # whoever generates may die without a commit
    known_until_us = ctx.principal.known_until_us
    return known_until_us if found.expires_at is None else min(known_until_us, found.expires_at)


def _key(ctx: Context, chat_id: ChatId, found: ChatAccess, view: View) -> Key:
    return (ctx.principal.organisation_id, chat_id, found.created_at, found.version, view.name, view.stamp)
