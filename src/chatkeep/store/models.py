"""Rows of the model catalogue as domain values."""

from __future__ import annotations

from chatkeep.domain.ids import ModelId
from chatkeep.domain.model import Model, ModelCard
from chatkeep.store.driver import Row, Transaction, Value
from chatkeep.store.rows import flag, read_json, write_json


async def insert(tx: Transaction, model: Model) -> None:
    """Write a new model. Raises `Conflict` when its id is taken."""
    await tx.run(
        "model_insert",
        id=model.id,
        is_system_model=model.is_system_model,
        created_at=model.created_at,
        updated_at=model.updated_at,
        **_card_values(model.card),
    )


async def update(tx: Transaction, model: Model) -> None:
    """Write the model's card."""
    await tx.run("model_update", id=model.id, updated_at=model.updated_at, **_card_values(model.card))


async def delete(tx: Transaction, model_id: ModelId) -> bool:
    """Remove a user's model; whether there was one."""
    return await tx.run("model_delete", id=model_id) > 0


async def get(tx: Transaction, model_id: ModelId) -> Model | None:
    """One model."""
    row = await tx.one("model_get", id=model_id)
    return None if row is None else _model(row)


async def get_by_provider(tx: Transaction, provider: str, model_name: str) -> Model | None:
    """The system model that stands for a provider's model."""
    row = await tx.one("model_get_by_provider", provider=provider, model_name=model_name)
    return None if row is None else _model(row)


async def everything(tx: Transaction) -> list[Model]:
    """The whole catalogue, recommended ones first."""
    return [_model(row) for row in await tx.all("models_all")]


async def page(tx: Transaction, *, after_id: str, limit: int) -> list[Model]:
    """Up to `limit` models with ids after `after_id`, ascending."""
    return [_model(row) for row in await tx.all("models_page", after_id=after_id, row_limit=limit)]


async def stamp(tx: Transaction) -> str:
    """Text that moves whenever a model of the organisation is added, changed or removed."""
    row = await tx.one("models_stamp")
    assert row is not None
    return f"{row[0]}.{row[1]:x}"


def _card_values(card: ModelCard) -> dict[str, Value]:
    return {
        "display_name": card.display_name,
        "description": card.description,
        "provider": card.provider,
        "model_name": card.model_name,
        "context_window": card.context_window,
        "max_tokens_per_request": card.max_tokens_per_request,
        "supports_streaming": card.supports_streaming,
        "supports_tools": card.supports_tools,
        "supports_vision": card.supports_vision,
        "supports_reasoning": card.supports_reasoning,
        "credit_multiplier": card.credit_multiplier,
        "input_price": card.input_price,
        "output_price": card.output_price,
        "model_tier": card.model_tier,
        "lifecycle_state": card.lifecycle_state,
        "end_of_life_at": card.end_of_life_at,
        "deprecation_notice": card.deprecation_notice,
        "is_recommended": card.is_recommended,
        "enabled": card.enabled,
        "parent_model_id": card.parent_model_id,
        "profile_id": card.profile_id,
        "metadata": write_json(card.metadata),
        "system_prompt_id": card.system_prompt_id,
        "system_prompt": card.system_prompt,
    }


def _model(row: Row) -> Model:
    organisation_id, model_id, display_name, description, provider, model_name, window, max_tokens, *rest = (
        row
    )
    streaming, tools, vision, reasoning, multiplier, input_price, output_price, *rest = rest
    tier, lifecycle, end_of_life, notice, *rest = rest
    recommended, enabled, is_system, parent, profile, metadata, prompt_id, prompt, created_at, updated_at = (
        rest
    )
    card = ModelCard(
        display_name=display_name,
        context_window=window,
        description=description,
        provider=provider,
        model_name=model_name,
        max_tokens_per_request=max_tokens,
        supports_streaming=bool(streaming),
        supports_tools=flag(tools),
        supports_vision=flag(vision),
        supports_reasoning=flag(reasoning),
        credit_multiplier=multiplier,
        input_price=input_price,
        output_price=output_price,
        model_tier=tier,
        lifecycle_state=lifecycle,
        end_of_life_at=end_of_life,
        deprecation_notice=notice,
        is_recommended=bool(recommended),
        enabled=bool(enabled),
        parent_model_id=parent,
        profile_id=profile,
        metadata=read_json(metadata),
        system_prompt_id=prompt_id,
        system_prompt=prompt,
    )
    return Model(organisation_id, model_id, card, bool(is_system), created_at, updated_at)
