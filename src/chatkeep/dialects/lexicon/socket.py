"""Lexicon's WebSocket, `/ws/chat`: what users say in a chat goes in, the chat's journal comes out as it grows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import cast

from fastapi import WebSocket
from pydantic import ValidationError

from chatkeep.dialects.lexicon import frames
from chatkeep.dialects.lexicon.frames import Frames
from chatkeep.dialects.lexicon.manner import MANNER
from chatkeep.dialects.lexicon.wire import SaidIn
from chatkeep.domain.errors import ChatkeepError, InvalidField, NotFound, RateLimited
from chatkeep.domain.ids import ChatId, PrincipalId
from chatkeep.domain.message import NewMessage
from chatkeep.runtime.tail import Reader
from chatkeep.services import chats, journal, people
from chatkeep.services.context import Context
from chatkeep.services.journal import Batch, Snapshot
from chatkeep.services.wishes import Wish
from chatkeep.web.credentials import context_of, query
from chatkeep.web.dialect import house_of, make_router
from chatkeep.web.house import House
from chatkeep.web.sockets import GOING_AWAY, Socket, close, cursor_of, is_foreign, send, until_either

router = make_router()
FINDERS = (query("api_key"), *MANNER.finders)
CLOSE_CODES = {"AUTH_ERROR": 4401, "CHAT_NOT_FOUND": 4404, "RATE_LIMITED": 4429, "INVALID_MESSAGE": 4400}
SERVER_ERROR = 1011
WAITING_MAX = 20
"""Messages of one socket that wait for the answers before theirs."""


@dataclass(slots=True)
class _Visit:
    """One user's socket in one chat."""

    house: House
    socket: Socket
    chat_id: ChatId
    user_id: str
    """As the tenant knows the user."""
    author_id: PrincipalId
    names: dict[PrincipalId, str]
    said: asyncio.Queue[SaidIn] = field(default_factory=lambda: asyncio.Queue(WAITING_MAX))
    shown_s: float = field(default_factory=time.monotonic)
    """When something was shown last."""

    async def fail(self, error: ChatkeepError) -> None:
        """Say what is wrong; the connection stays."""
        await self.socket.send(frames.error(error, self.chat_id, self.socket.ctx.now_us()))


@router.websocket("/ws/chat")
async def talk(websocket: WebSocket) -> None:
    """`api_key`, `user_id` and `chat_id` come in the query or as `X-API-Key`, `X-User-ID` and `X-Chat-ID`; `?after=` is
    the `seq` of the last frame that a client has had, if it comes back.
    """
    if await is_foreign(websocket, MANNER):
        return
    await websocket.accept()
    house, chat_id = house_of(websocket), _said(websocket, "chat_id")
    try:
        await _visit(house, websocket, ChatId(chat_id))
    except ChatkeepError as error:
        await send(websocket, frames.error(error, chat_id, house.system.clock.now_us()))
        await close(websocket, CLOSE_CODES.get(frames.code_of(error), SERVER_ERROR), str(error))


async def _visit(house: House, websocket: WebSocket, chat_id: ChatId) -> None:
    async def who() -> Context:
        return await context_of(house, websocket, FINDERS)

    ctx, user_id, after = await who(), _said(websocket, "user_id"), cursor_of(websocket)
    if not user_id.strip():
        at = ctx.now_us()
        await send(websocket, frames.failed("AUTH_ERROR", frames.NO_USER, at))
        await close(websocket, CLOSE_CODES["AUTH_ERROR"], frames.NO_USER)
        return
    await chats.peek(ctx, chat_id)
    async with house.streams.talking(ctx, chat_id, most=ctx.system.limits.lexicon_sockets_max):
        user, is_new = await people.meet(ctx, user_id)
        socket = Socket(websocket, ctx, who, messages_per_s=ctx.system.limits.lexicon_messages_per_s)
        visit = _Visit(house, socket, chat_id, user_id, user.id, {user.id: user_id})
        tenant_id = ctx.principal.organisation_id
        await socket.send(frames.established(user_id, chat_id, tenant_id, ctx.now_us()))
        if is_new:
            await socket.send(frames.user_created(user_id, ctx.now_us()))
        batch = await (
            journal.snapshot(ctx, chat_id) if after is None else journal.after(ctx, chat_id, after)
        )
        shown = Frames(chat_id, visit.names, user_id)
        await until_either(_show(visit, shown, batch, after or 0), _hear(visit), _have_answered(visit))


async def _show(visit: _Visit, shown: Frames, first: Batch, after: int) -> None:
    """Everything from `first` on, as long as somebody says something."""
    socket, limits = visit.socket, visit.socket.ctx.system.limits
    cursor = await _tell(visit, shown, first, after)
    while not visit.house.tail.is_closing:
        following = cast(
            "AsyncGenerator[Batch, None]",
            visit.house.tail.follow(Reader(socket.ctx, socket.recheck), visit.chat_id, cursor),
        )
        async with aclosing(following):
            async for batch in following:
                cursor = await _tell(visit, shown, batch, cursor)
                if time.monotonic() - max(visit.shown_s, socket.heard_s) >= limits.lexicon_idle_s:
                    await socket.close(GOING_AWAY, "nobody has said anything for long")
                    return
        await chats.peek(socket.ctx, visit.chat_id)  # it ends also with the chat
    await socket.close(GOING_AWAY, "the server is going; come back with ?after=")


async def _tell(visit: _Visit, shown: Frames, batch: Batch, cursor: int) -> int:
    """Show what there is; the cursor after it."""
    await _learn_names(visit, batch)
    for frame in shown.of(batch):
        await visit.socket.send(frame)
        visit.shown_s = time.monotonic()
    if isinstance(batch, Snapshot):
        return batch.seq
    return batch[-1].seq if batch else cursor


async def _learn_names(visit: _Visit, batch: Batch) -> None:
    """The ids by which the tenant knows whoever wrote these messages."""
    told = batch.messages if isinstance(batch, Snapshot) else [each.message for each in batch if each.message]
    for author_id in {each.author_id for each in told if each.author_id is not None} - visit.names.keys():
        try:
            account = await people.get(visit.socket.ctx, author_id)
        except NotFound:
            continue
        visit.names[author_id] = account.external_id or account.id


async def _hear(visit: _Visit) -> None:
    """Take what the client says until it is gone, and everything that it said has been asked."""
    while True:
        try:
            frame = await visit.socket.receive()
            if frame is None:
                break
            visit.said.put_nowait(_read(frame))
        except ChatkeepError as error:
            await visit.fail(error)
        except asyncio.QueueFull:
            await visit.fail(RateLimited(1))
    await visit.said.join()


async def _have_answered(visit: _Visit) -> None:
    """Ask one after the other, each when the answer before it has ended."""
    house, wish = visit.house, Wish(if_busy="queue")
    while True:
        said = await visit.said.get()
        try:
            house.runner.check_open()
            message = NewMessage("user", said.content, author_id=visit.author_id, metadata=said.metadata)
            house.runner.begin(await house.turns.start(visit.socket.ctx, visit.chat_id, [message], wish))
        except ChatkeepError as error:
            await visit.fail(error)
        finally:
            visit.said.task_done()


def _said(websocket: WebSocket, name: str) -> str:
    """A parameter of the query, or the header of the same name: in UTF-8, as in the query, or else in Latin-1."""
    header = websocket.headers.get(f"x-{name.replace('_', '-')}", "")
    with suppress(UnicodeDecodeError):
        header = header.encode("latin-1").decode()
    return websocket.query_params.get(name) or header


def _read(frame: object) -> SaidIn:
    try:
        return SaidIn.model_validate(frame)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidField(".".join(map(str, first["loc"])) or "frame", first["msg"]) from None
