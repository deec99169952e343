"""The shapes of asking for answers, and of runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from chatkeep.dialects.native.wire import Id, JsonMap, MessageOut, Strict, UsageOut

FunctionName = Annotated[str, StringConstraints(pattern="^[a-zA-Z0-9_-]{1,64}$")]


class FunctionIn(Strict):
    """A function that the model may have called."""

    name: FunctionName
    description: str | None = Field(None, description="When and how to call it, for the model.")
    parameters: JsonMap | None = Field(None, description="JSON Schema of its arguments, an object.")
    strict: bool | None = Field(
        None, description="Whether the arguments must follow the schema to the letter."
    )


class ToolIn(Strict):
    """A tool in OpenAI's form; there are no others than functions."""

    type: Literal["function"]
    function: FunctionIn


class NamedFunction(Strict):
    """The name of one of `tools`."""

    name: FunctionName


class NamedTool(Strict):
    """One of `tools`, which the model must call."""

    type: Literal["function"]
    function: NamedFunction


class ToolResultIn(Strict):
    """What came of a call."""

    tool_call_id: str = Field(min_length=1, max_length=200, description="The `id` of the call.")
    content: str = Field(description="The result as text, at most 100,000 bytes.")


class AnswerIn(Strict):
    """How an answer is wanted."""

    model_id: Id | None = Field(None, description="Another model than the chat's; it becomes the chat's.")
    max_tokens: int | None = Field(None, ge=1, le=200_000)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    tools: list[ToolIn] | None = Field(
        None, max_length=128, description="Functions that the model may call; you make the calls."
    )
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = Field(
        None, description="Whether it shall call one; left to the model when absent."
    )
    stream: bool = Field(False, description="Server-sent events instead of one answer at the end.")


class GenerateIn(AnswerIn):
    """What to answer: append `tool_results` and `message` first where given, then ask the model."""

    tool_results: list[ToolResultIn] = Field(
        default_factory=list,
        max_length=128,
        description="Results of the calls that the answer before ended with; the model answers to them.",
    )
    message: str | None = Field(
        None, min_length=1, description="The user's message; without it the current path is answered."
    )
    if_busy: Literal["reject", "queue", "branch"] = Field(
        "reject",
        description="While another answer is generated: refuse, wait for its end, or branch off beside its question.",
    )


class AgainIn(AnswerIn):
    """Which answer to give again, or to go on with."""

    message_id: Id | None = Field(None, description="An answer of the chat; the current one when absent.")


class EditIn(AnswerIn):
    """What is said instead."""

    content: str = Field(min_length=1, description="The text, at most 100,000 bytes.")


class StopIn(Strict):
    """What to stop."""

    run_id: Id | None = Field(None, description="One run; all of the chat when absent.")


class GenerateOut(TypedDict):
    """An answer."""

    run_id: str
    chat_id: str
    question_id: str | None
    message: MessageOut | None
    usage: UsageOut | None
    error: str | None


class RunOut(TypedDict):
    """A run: one generation of one answer."""

    id: str
    chat_id: str
    question_id: str
    answer_id: str
    model_id: str
    principal_id: str
    state: Literal["running", "completed", "stopped", "failed"]
    first_seq: int
    epoch: int
    stop_requested_at: str | None
    usage: UsageOut | None
    response_time_ms: int | None
    started_at: str
    ended_at: str | None
    error: str | None


class RunPage(TypedDict):
    """A page of runs."""

    items: list[RunOut]
    next_cursor: str | None
    has_more: bool


class RunList(TypedDict):
    """Runs."""

    items: list[RunOut]
