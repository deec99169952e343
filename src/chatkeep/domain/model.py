"""The catalogue of models: what can answer, with every field of Cuadra's ModelOut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from chatkeep.domain.ids import ModelId, OrganisationId
from chatkeep.domain.json import JsonObject

LifecycleState = Literal["active", "disabled", "deprecated", "end_of_life"]
ModelTier = Literal["standard", "premium"]
LIFECYCLE_STATES: tuple[LifecycleState, ...] = get_args(LifecycleState)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is said about a model. `provider` names a configured provider and `model_name` the model's name there.

    A model without a provider (a "user model") answers through its `parent_model_id`, under its own `system_prompt`.
    `context_window` and `max_tokens_per_request` in tokens, `end_of_life_at` in microseconds UTC.
    Prices are money for a million tokens as decimal text, None where they are not known; whose currency, the operator
    knows. A model that answers through its parent has the parent's where it has none itself.
    """

    display_name: str
    context_window: int
    description: str | None = None
    provider: str | None = None
    model_name: str | None = None
    max_tokens_per_request: int | None = None
    supports_streaming: bool = True
    supports_tools: bool | None = None
    supports_vision: bool | None = None
    supports_reasoning: bool | None = None
    credit_multiplier: float | None = None
    input_price: str | None = None
    output_price: str | None = None
    model_tier: ModelTier | None = None
    lifecycle_state: LifecycleState = "active"
    end_of_life_at: int | None = None
    deprecation_notice: str | None = None
    is_recommended: bool = False
    enabled: bool = True
    parent_model_id: ModelId | None = None
    profile_id: str | None = None
    metadata: JsonObject | None = None
    system_prompt_id: str | None = None
    system_prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model of one organisation's catalogue. `is_system_model`: found by the server itself, not made by a user."""

    organisation_id: OrganisationId
    id: ModelId
    card: ModelCard
    is_system_model: bool
    created_at: int
    updated_at: int

    @property
    def can_answer(self) -> bool:
        """Whether new answers may be asked of it."""
        return self.card.enabled and self.card.lifecycle_state in ("active", "deprecated")
