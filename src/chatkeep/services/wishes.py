"""How an answer is wanted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from chatkeep.domain.ids import MessageId, ModelId
from chatkeep.domain.json import JsonObject


@dataclass(frozen=True, slots=True)
class Wish:
    """How the answer is wanted. `model_id` None takes the chat's model; `answer_*` mark the answer's message.

    A `model_id` and a `system_prompt` given here become the chat's own. `replaces` is the answer that this one stands
    beside (regenerating).
    """

    model_id: ModelId | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    system_prompt: str | None = None
    answer_id: MessageId | None = None
    answer_state_id: str | None = None
    replaces: MessageId | None = None

    def kept(self) -> JsonObject:
        """What a run remembers of it, for whoever takes it over."""
        return {name: value for name, value in asdict(self).items() if value is not None and name in _KEPT}


_KEPT = {"max_tokens", "temperature", "answer_state_id", "replaces"}


def remembered(kept: Any) -> Wish:
    """The wish of a stored run."""
    return Wish(**kept)
