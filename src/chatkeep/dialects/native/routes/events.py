"""A chat's events: as a stream, or by asking again and again with the same cursor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, cast

from fastapi import Header, Query, Request, Response

from chatkeep.dialects.native import events, wire_events
from chatkeep.dialects.native.manner import MANNER, Caller
from chatkeep.dialects.native.routes.chats import ChatPath
from chatkeep.domain.errors import ChatkeepError, InvalidField
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId
from chatkeep.runtime.bell import Offer
from chatkeep.runtime.tail import Reader, Recheck
from chatkeep.services import chats, journal
from chatkeep.services.context import Context
from chatkeep.services.journal import Batch, Snapshot
from chatkeep.web import sse
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.dialect import house_of, make_router, rechecking
from chatkeep.web.house import House
from chatkeep.web.openapi import stream_of

router = make_router()
RETRY = b"retry: 1000\n\n"
STREAM = stream_of(wire_events.StreamOut)
SEQ_MAX = 2**53
After = Annotated[
    int | None,
    Query(ge=0, le=SEQ_MAX, description="The last event you have; without it a snapshot comes first."),
]
WaitS = Annotated[
    float | None,
    Query(ge=0, le=60, description="Answer with JSON, and wait so many seconds for something to come."),
]
LastEventId = Annotated[
    str | None, Header(description="Goes before `after`: what an EventSource sends by itself.")
]


@router.get(
    "/chats/{chat_id}/events",
    summary="Follow a chat",
    responses={200: {"model": wire_events.EventPage, "content": STREAM}},
)
async def follow(
    chat_id: ChatPath,
    ctx: Caller,
    request: Request,
    after: After = None,
    wait_s: WaitS = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Everything that happens in the chat, each event under its `seq`: server-sent events, or JSON with `wait_s`.

    A cursor never expires: where events were folded away, a `snapshot` comes in their place, then what follows it.
    """
    house, cursor = house_of(request), _cursor(last_event_id, after)
    recheck = rechecking(MANNER, request)
    await chats.peek(ctx, ChatId(chat_id))
    if wait_s is not None:
        return JsonAnswer(await _page(house, ctx, ChatId(chat_id), cursor, wait_s, recheck))
    frames = _frames(house, ctx, ChatId(chat_id), cursor, recheck, sse.offering(request, _frame))
    first = await anext(frames)  # what is refused is refused before the stream begins
    return sse.stream(_from(first, frames))


def _cursor(last_event_id: str | None, after: int | None) -> int | None:
    if not last_event_id:
        return after
    if not (last_event_id.isascii() and last_event_id.isdigit()) or int(last_event_id[:20]) > SEQ_MAX:
        raise InvalidField("Last-Event-ID", "must be the id of an event of this chat")
    return int(last_event_id)


async def _page(
    house: House, ctx: Context, chat_id: ChatId, cursor: int | None, wait_s: float, recheck: Recheck
) -> object:
    if cursor is None:
        return events.page(await journal.snapshot(ctx, chat_id), 0)
    async with house.streams.admitted(ctx):
        batch = await house.tail.poll(ctx, chat_id, cursor, wait_s=wait_s, recheck=recheck)
        return events.page(batch, cursor)


async def _from(first: bytes, frames: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(frames):
        yield first
        async for frame in frames:
            yield frame


async def _frames(
    house: House, ctx: Context, chat_id: ChatId, cursor: int | None, recheck: Recheck, offer: Offer
) -> AsyncGenerator[bytes, None]:
    def offered(event: Event) -> bool:
        nonlocal cursor
        if not offer(event):
            return False
        cursor = event.seq
        return True

    async with house.streams.admitted(ctx):
        yield RETRY
        reader = Reader(ctx, recheck, offer=offered)
        following = cast("AsyncGenerator[Batch, None]", house.tail.follow(reader, chat_id, cursor))
        try:
            async with aclosing(following):
                async for batch in following:
                    if isinstance(batch, Snapshot):
                        cursor = batch.seq
                        yield sse.data(events.snapshot(batch), event="snapshot", seq=cursor)
                    elif batch:
                        cursor = batch[-1].seq
                        yield b"".join([_frame(event) for event in batch])
                    else:
                        yield sse.HEARTBEAT
            await chats.peek(ctx, chat_id)
        except ChatkeepError as error:
            failed: wire_events.StreamError = {"type": "error", "code": error.code, "detail": str(error)}
            yield sse.data(failed, event="error")
            return
        again: wire_events.Reconnect = {"type": "reconnect", "after": cursor or 0}
        yield sse.data(again, event="reconnect", seq=cursor)


def _frame(event: Event) -> bytes:
    return sse.data(events.event(event), event=event.kind, seq=event.seq)
