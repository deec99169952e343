"""Agents: a prompt with a greeting that speaks through a model. Flows come later and will be versions of an agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chatkeep.domain.ids import AgentId, ModelId, OrganisationId

GreetingMode = Literal["human", "agent_static"]
GREETING_STATE = "greeting_state"
MAIN_STATE = "main_state"


@dataclass(frozen=True, slots=True)
class Agent:
    """A one-prompt agent. `greeting_mode` `human` means the person speaks first; times in microseconds UTC.

    Its session has two states: `greeting_state` until the first answer, `main_state` from then on.
    """

    organisation_id: OrganisationId
    id: AgentId
    name: str
    prompt: str
    greeting_mode: GreetingMode
    greeting_message: str
    model_id: ModelId | None
    created_at: int
    updated_at: int
