"""How an answer is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from chatkeep.domain.ids import MessageId, ModelId
from chatkeep.domain.json import JsonObject, JsonValue
from chatkeep.services.context import Answer

if TYPE_CHECKING:
    from chatkeep.services.generating import Outcome

IfBusy = Literal["reject", "queue", "branch"]


@dataclass(frozen=True, slots=True)
class Wish:
    """How the answer is wanted. `model_id` None takes the chat's model; `answer_*` mark the answer's message.

    `tools` are the functions that the model may call, `tool_choice` whether it shall, both in OpenAI's form.
    A `model_id` and a `system_prompt` given here become the chat's own. `replaces` is the answer that this one stands
    beside (regenerating). `settle` renders the answer for the request's Idempotency-Key. While another answer is
    generated, `if_busy` says whether to refuse, to wait for one's turn, or to begin a branch beside its question.
    """

    model_id: ModelId | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    system_prompt: str | None = None
    tools: list[JsonObject] | None = None
    tool_choice: JsonValue = None
    answer_id: MessageId | None = None
    answer_state_id: str | None = None
    replaces: MessageId | None = None
    settle: Callable[[Outcome], Answer] | None = None
    if_busy: IfBusy = "reject"

    def kept(self) -> JsonObject:
        """What a run remembers of it, for whoever takes it over."""
        values = {name: getattr(self, name) for name in _KEPT}
        return {name: value for name, value in values.items() if value is not None}


_KEPT = ("max_tokens", "temperature", "tools", "tool_choice", "answer_state_id", "replaces")


def remembered(kept: Any) -> Wish:
    """The wish of a stored run."""
    return Wish(**kept)
