"""Functions that a model may call: what a client may offer, what a model's calls become, and which results are there.

The client runs them. chatkeep offers them to the model, keeps its calls with its answer, and gives it the results that
the client appends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chatkeep.domain.errors import InvalidField
from chatkeep.domain.json import JsonObject
from chatkeep.domain.limits import Limits
from chatkeep.domain.message import Message, calls_in
from chatkeep.domain.run import Run
from chatkeep.models.port import ToolCall
from chatkeep.services.models import Route
from chatkeep.services.wishes import Wish
from chatkeep.store import messages
from chatkeep.store.driver import Transaction
from chatkeep.store.rows import json_bytes


async def check(
    tx: Transaction, limits: Limits, wish: Wish, route: Route, *, question: Message | None
) -> None:
    """Raise `InvalidField` for tools that cannot be offered, and for an answer to results that are not all there."""
    result = question if question is not None and question.role == "tool" else None
    if route.supports_tools is False and (wish.tools or result is not None):
        raise InvalidField("tools", "this model takes no tools and no results of tools")
    _check_offer(limits, wish)
    if result is not None:
        await _check_results(tx, result)


def named(run: Run, calls: tuple[ToolCall, ...]) -> list[ToolCall]:
    """The calls, each under an id of its own: what the provider calls it, where that is one."""
    seen: set[str] = set()
    found = []
    for number, call in enumerate(calls):
        call_id = call.id if call.id and call.id not in seen else f"call_{run.id}_{number}"
        seen.add(call_id)
        found.append(replace(call, id=call_id))
    return found


def as_kept(call: ToolCall) -> JsonObject:
    """A call in OpenAI's form, as messages keep it."""
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _check_offer(limits: Limits, wish: Wish) -> None:
    tools: list[Any] = wish.tools or []
    names = [tool["function"]["name"] for tool in tools]
    if len(names) > limits.tools_max:
        raise InvalidField("tools", f"at most {limits.tools_max} tools")
    if tools and json_bytes(tools) > limits.tools_bytes_max:
        raise InvalidField("tools", f"at most {limits.tools_bytes_max} bytes as JSON")
    if len(set(names)) < len(names):
        raise InvalidField("tools", "each tool needs a name of its own")
    choice: Any = wish.tool_choice
    if choice is not None and not tools:
        raise InvalidField("tool_choice", "needs `tools` to choose from")
    if isinstance(choice, dict) and choice["function"]["name"] not in names:
        raise InvalidField("tool_choice", "names none of `tools`")


async def _check_results(tx: Transaction, result: Message) -> None:
    # A model takes the results of all calls of an answer, or none.
    given, at = set(), result
    while at.role == "tool":
        given.add(at.tool_call_id)
        before = None if at.parent_id is None else await messages.get(tx, at.chat_id, at.parent_id)
        if before is None:
            break
        at = before
    named = [call["id"] for call in calls_in(at)]
    if result.tool_call_id not in named:
        raise InvalidField("tool_call_id", "the answer before this result has no such call")
    if missing := [str(name) for name in named if name not in given]:
        raise InvalidField("tool_call_id", f"results of these calls are still missing: {', '.join(missing)}")
