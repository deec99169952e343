"""A chat over a WebSocket: its events as they come, and in the other direction what to say and when to stop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from fastapi import WebSocket
from pydantic import ValidationError

from chatkeep.dialects.native import events, wire_socket
from chatkeep.dialects.native.manner import MANNER
from chatkeep.dialects.native.routes.generate import said_by, wish_of
from chatkeep.dialects.native.wire_socket import AnyFrame
from chatkeep.domain.errors import ChatkeepError, InvalidField
from chatkeep.domain.ids import ChatId, RunId
from chatkeep.runtime.tail import Reader
from chatkeep.services import chats, runs
from chatkeep.services.journal import Batch, Snapshot
from chatkeep.web.dialect import house_of, make_router
from chatkeep.web.house import House
from chatkeep.web.sockets import GOING_AWAY, POLICY_VIOLATION, Socket, admit, cursor_of, until_either

router = make_router()


@router.websocket("/chats/{chat_id}/ws")
async def talk(websocket: WebSocket, chat_id: str) -> None:
    """Server to client: the frames of `GET /chats/{chat_id}/events`, and an answer to each frame of the client.

    `?after=` is the cursor. Frames of the client are in `wire_socket`.
    """
    house = house_of(websocket)
    socket = await admit(websocket, MANNER)
    if socket is None:
        return
    try:
        after = cursor_of(websocket)
        await chats.peek(socket.ctx, ChatId(chat_id))
        async with house.streams.admitted(socket.ctx):
            await until_either(
                _show(house, socket, ChatId(chat_id), after), _hear(house, socket, ChatId(chat_id))
            )
    except ChatkeepError as error:
        await socket.send(_failure(error))
        await socket.close(POLICY_VIOLATION, str(error))


async def _show(house: House, socket: Socket, chat_id: ChatId, cursor: int | None) -> None:
    following = cast(
        "AsyncGenerator[Batch, None]",
        house.tail.follow(Reader(socket.ctx, socket.recheck), chat_id, cursor),
    )
    async with aclosing(following):
        async for batch in following:
            if isinstance(batch, Snapshot):
                cursor = batch.seq
                await socket.send(events.snapshot(batch))
            for each in batch if isinstance(batch, list) else ():
                cursor = each.seq
                await socket.send(events.event(each))
    await chats.peek(socket.ctx, chat_id)
    await socket.send({"type": "reconnect", "after": cursor or 0})
    await socket.close(GOING_AWAY, "come back with the cursor")


async def _hear(house: House, socket: Socket, chat_id: ChatId) -> None:
    while (frame := await socket.receive()) is not None:
        ref = frame.get("ref")
        try:
            answer = await _obey(house, socket, chat_id, frame)
        except ChatkeepError as error:
            await socket.send({**_failure(error), "ref": ref})
        else:
            await socket.send({"type": "done", "ref": ref, **answer})


async def _obey(house: House, socket: Socket, chat_id: ChatId, frame: dict[str, Any]) -> dict[str, Any]:
    match frame.get("type"):
        case "send":
            return await _send(house, socket, chat_id, _read(wire_socket.SendFrame, frame))
        case "stop":
            wanted = _read(wire_socket.StopFrame, frame).run_id
            asked = await runs.stop(socket.ctx, chat_id, None if wanted is None else RunId(wanted))
            for run in asked:
                house.runner.stop(run.id)
            return {"run_ids": [run.id for run in asked]}
        case _:
            raise InvalidField("type", "must be send or stop")


async def _send(
    house: House, socket: Socket, chat_id: ChatId, frame: wire_socket.SendFrame
) -> dict[str, Any]:
    house.runner.check_open()
    wish = replace(wish_of(frame), if_busy=frame.if_busy)
    started = await house.turns.start(socket.ctx, chat_id, said_by(socket.ctx, frame), wish)
    return {"run_id": house.runner.begin(started).run.id}


def _read(kind: type[AnyFrame], frame: dict[str, Any]) -> AnyFrame:
    try:
        return kind.model_validate(frame)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidField(".".join(map(str, first["loc"])) or "frame", first["msg"]) from None


def _failure(error: ChatkeepError) -> dict[str, Any]:
    return {"type": "error", "code": error.code, "detail": str(error)}
