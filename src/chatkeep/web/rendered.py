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
        return Response(status_code=304, headers={"etag": etag, **PRIVATE})
    key = _key(ctx, chat_id, found, view)
    body = cache.get(key)
    if body is None:
        thread = await chats.read(ctx, chat_id)
        rendered = render(thread)
        body = rendered if isinstance(rendered, bytes) else await rendered
        etag = etags.write(thread.chat.access, view.stamp)
        if thread.chat.status != "generating":  # it would be another one in a moment
            cache.put(_key(ctx, chat_id, thread.chat.access, view), body)
    return Response(body, media_type=JSON, headers={"etag": etag, **PRIVATE, **view.headers})


def _key(ctx: Context, chat_id: ChatId, found: ChatAccess, view: View) -> Key:
    return (ctx.principal.organisation_id, chat_id, found.created_at, found.version, view.name, view.stamp)
