"""The model catalogue: list, get, create, change, delete; which provider answers for a model; what providers offer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chatkeep.domain.errors import InvalidField, NoModel, NotAllowed, NotFound
from chatkeep.domain.ids import ModelId
from chatkeep.domain.limits import Limits
from chatkeep.domain.model import Model, ModelCard
from chatkeep.domain.money import PRICE_RULE, is_price
from chatkeep.domain.page import Page, read_cursor, write_cursor
from chatkeep.domain.text import check_text
from chatkeep.domain.usage import Usage
from chatkeep.models.port import ModelListing, Provider
from chatkeep.services import access
from chatkeep.services.context import Context, System
from chatkeep.store import models, organisations
from chatkeep.store.driver import Transaction

NOUN = "Model"
CONTEXT_WINDOW_MAX = 2_000_000
MAX_TOKENS_MAX = 200_000
DEFAULT_CONTEXT_WINDOW = 8_192


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers for a model: the provider, the model's name there, and the prompt that belongs to the model.

    `context_window` and `max_tokens` (of one answer; None: as many as the provider likes) in tokens; prices for a
    million of them, as they were when the run began. `supports_tools` is None where nobody has said.
    """

    provider: Provider
    model_name: str
    system_prompt: str | None
    context_window: int
    max_tokens: int | None
    input_price: str | None
    output_price: str | None
    supports_tools: bool | None = None

    def priced(self, usage: Usage | None) -> Usage | None:
        """What a call used, with what it cost where that is known."""
        return None if usage is None else usage.priced(self.input_price, self.output_price)


async def list_models(ctx: Context, *, cursor: str | None, limit: int) -> Page[Model]:
    """A page of the catalogue by id. Raises `BadCursor`."""
    ctx.principal.require("models:read")
    after_id = "" if cursor is None else str(read_cursor(cursor, str)[0])

    async def body(tx: Transaction) -> Page[Model]:
        rows = await models.page(tx, after_id=after_id, limit=limit + 1)
        return Page(rows[:limit], write_cursor(rows[limit - 1].id) if len(rows) > limit else None)

    return await ctx.read(body)


async def get(ctx: Context, model_id: ModelId) -> Model:
    """One model. Raises `NotFound`."""
    ctx.principal.require("models:read")
    access.check_id(model_id, NOUN)

    async def body(tx: Transaction) -> Model:
        return await _existing(tx, model_id)

    return await ctx.peek(body)


async def stamp(ctx: Context) -> str:
    """What a rendering that names models depends on besides its chat's version; one point read at most."""
    organisation_id = ctx.principal.organisation_id
    return await ctx.system.store.recall(organisation_id, ("models", organisation_id), models.stamp)


async def find(ctx: Context, model_id: ModelId) -> Model | None:
    """The model a chat names, if it is still there; for readers of chats."""

    async def body(tx: Transaction) -> Model | None:
        return await models.get(tx, model_id)

    return await ctx.peek(body)


async def first(ctx: Context) -> Model | None:
    """Who answers in chats that name no model: the first one that can, else the first; None in an empty catalogue."""

    async def body(tx: Transaction) -> Model | None:
        known = await models.everything(tx)
        return await default(tx, ctx.system) or (known[0] if known else None)

    return await ctx.peek(body)


async def create(ctx: Context, card: ModelCard) -> Model:
    """Add a model of the organisation's own.

    Raises `InvalidField` for values outside their bounds and for a provider that the operator has not configured.
    """
    ctx.principal.require("models:write")
    _check(ctx.system.limits, card)
    _check_provider(ctx.system, card)
    now = ctx.now_us()
    model = Model(
        organisation_id=ctx.principal.organisation_id,
        id=ModelId(ctx.system.entropy.uuid7()),
        card=card,
        is_system_model=False,
        created_at=now,
        updated_at=now,
    )

    async def body(tx: Transaction) -> Model:
        await _check_parent(tx, card)
        await models.insert(tx, model)
        return model

    return await ctx.write(body)


async def update(ctx: Context, model_id: ModelId, card: ModelCard) -> Model:
    """Give the model another card. Provider and name of a system model stay as they were found.

    Raises `NotFound`, `NotAllowed` and what `create` raises; a provider that is not configured any more may stay.
    """
    ctx.principal.require("models:write")
    access.check_id(model_id, NOUN)
    _check(ctx.system.limits, card)

    async def body(tx: Transaction) -> Model:
        before = await _existing(tx, model_id)
        same_source = (card.provider, card.model_name) == (before.card.provider, before.card.model_name)
        if before.is_system_model and not same_source:
            raise NotAllowed("Provider and name of a system model cannot be changed.")
        if card.provider != before.card.provider:
            _check_provider(ctx.system, card)
        await _check_parent(tx, card, model_id)
        after = replace(before, card=card, updated_at=ctx.now_us())
        await models.update(tx, after)
        return after

    return await ctx.write(body)


async def delete(ctx: Context, model_id: ModelId) -> None:
    """Remove a model of the organisation's own. Raises `NotFound`, and `NotAllowed` for a system model."""
    ctx.principal.require("models:write")
    access.check_id(model_id, NOUN)

    async def body(tx: Transaction) -> None:
        if (await _existing(tx, model_id)).is_system_model:
            raise NotAllowed("A system model cannot be deleted; disable it instead.")
        await models.delete(tx, model_id)

    await ctx.write(body)


async def route(tx: Transaction, system: System, model_id: ModelId | None) -> tuple[Model, Route]:
    """The model and who answers for it. Raises `NoModel` when none can, `InvalidField` when this one cannot."""
    found = await models.get(tx, model_id) if model_id is not None else await default(tx, system)
    if found is None:
        raise NoModel() if model_id is None else InvalidField("model_id", "no such model")
    answering = await _answering(tx, system, found)
    if answering is None:
        raise InvalidField("model_id", "this model has no provider that can answer now")
    source, provider = answering
    own, card = found.card, source.card
    return found, Route(
        provider,
        card.model_name or source.id,
        own.system_prompt,
        own.context_window,
        max_tokens=least(own.max_tokens_per_request, card.max_tokens_per_request),
        input_price=card.input_price if own.input_price is None else own.input_price,
        output_price=card.output_price if own.output_price is None else own.output_price,
        supports_tools=card.supports_tools if own.supports_tools is None else own.supports_tools,
    )


def least(*bounds: int | None) -> int | None:
    """The least of the bounds that there are."""
    return min((bound for bound in bounds if bound is not None), default=None)


async def default(tx: Transaction, system: System) -> Model | None:
    """Who answers where no model is named: the first one, recommended ones first, that can answer now."""
    for model in await models.everything(tx):
        if await _answering(tx, system, model) is not None:
            return model
    return None


async def sync(system: System, provider: Provider) -> int:
    """Ask a provider what it offers and add what is new to every organisation's catalogue; how many were added.

    Raises `ProviderFailed` when it does not answer.
    """
    offered = await provider.list_models()
    added = 0
    for organisation in await system.store.read(None, organisations.everyone):

        async def body(tx: Transaction) -> int:
            return await _add_missing(tx, system, provider.name, offered)

        added += await system.store.write(organisation.id, body)
    return added


async def _add_missing(tx: Transaction, system: System, provider: str, offered: list[ModelListing]) -> int:
    added = 0
    await organisations.lock(tx)
    for listing in offered:
        if await models.get_by_provider(tx, provider, listing.name) is not None:
            continue
        now = system.clock.now_us()
        card = ModelCard(
            display_name=listing.name,
            context_window=listing.context_window or DEFAULT_CONTEXT_WINDOW,
            provider=provider,
            model_name=listing.name,
            input_price=listing.input_price,
            output_price=listing.output_price,
            is_recommended=not await models.everything(tx),
        )
        assert tx.organisation_id is not None
        await models.insert(
            tx, Model(tx.organisation_id, ModelId(system.entropy.uuid7()), card, True, now, now)
        )
        added += 1
    return added


async def _answering(tx: Transaction, system: System, model: Model) -> tuple[Model, Provider] | None:
    """The model that really answers, the parent of a user model, and its provider; None when nobody can now."""
    source: Model | None = model
    if model.card.provider is None and model.card.parent_model_id is not None:
        source = await models.get(tx, model.card.parent_model_id)
    provider = system.providers.get(source.card.provider or "") if source is not None else None
    if source is None or provider is None or not model.can_answer or not source.can_answer:
        return None
    return source, provider


async def _existing(tx: Transaction, model_id: ModelId) -> Model:
    found = await models.get(tx, model_id)
    if found is None:
        raise NotFound(NOUN)
    return found


async def _check_parent(tx: Transaction, card: ModelCard, own_id: ModelId | None = None) -> None:
    if card.parent_model_id is None:
        return
    parent = await models.get(tx, card.parent_model_id)
    if parent is None or parent.id == own_id or parent.card.parent_model_id is not None:
        raise InvalidField("parent_model_id", "must name a model that has no parent itself")
    if own_id is not None and any(
        each.card.parent_model_id == own_id for each in await models.everything(tx)
    ):
        raise InvalidField("parent_model_id", "must be null: this model is a parent itself")


def _check_provider(system: System, card: ModelCard) -> None:
    if card.provider is not None and card.provider not in system.providers:
        known = ", ".join(sorted(system.providers)) or "none, as none is configured"
        raise InvalidField("provider", f"no such provider here; known: {known}")


def _check(limits: Limits, card: ModelCard) -> None:
    check_text("display_name", card.display_name, characters_max=limits.name_characters_max)
    if not card.display_name.strip():
        raise InvalidField("display_name", "must not be empty")
    if not 1 <= card.context_window <= CONTEXT_WINDOW_MAX:
        raise InvalidField("context_window", f"must be 1 to {CONTEXT_WINDOW_MAX} tokens")
    if card.max_tokens_per_request is not None and not 1 <= card.max_tokens_per_request <= MAX_TOKENS_MAX:
        raise InvalidField("max_tokens_per_request", f"must be 1 to {MAX_TOKENS_MAX} tokens")
    for field, price in (("input_price", card.input_price), ("output_price", card.output_price)):
        if price is not None and not is_price(price):
            raise InvalidField(field, PRICE_RULE)
