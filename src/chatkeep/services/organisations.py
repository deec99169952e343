"""Organisations: the first start, making more of them, suspending. Work of the system, reached by the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatkeep.domain.agent import Agent
from chatkeep.domain.errors import NotFound
from chatkeep.domain.ids import AgentId, CredentialId, OrganisationId, PrincipalId
from chatkeep.domain.principal import Account, Organisation, Principal, effective_scopes
from chatkeep.domain.text import check_text
from chatkeep.services import keys
from chatkeep.services.context import Context, System
from chatkeep.store import agents, agreements, organisations, principals
from chatkeep.store.driver import Transaction

FIRST = "first organisation"
OWNER_NAME = "Owner"
DEFAULT_AGENT_NAME = "Assistant"
DEFAULT_AGENT_PROMPT = "You are a helpful assistant. Answer briefly and truthfully."
DEFAULT_AGENT_GREETING = "Hi there! How can I help you?"


@dataclass(frozen=True, slots=True)
class NewOrganisation:
    """An organisation just made, and its owner's key, shown once."""

    organisation: Organisation
    owner_id: PrincipalId
    credential_id: CredentialId
    key: str = field(repr=False)


async def ensure_first(system: System) -> NewOrganisation | None:
    """At first start make the organisation and its owner's key; None when there is an organisation already."""
    if await system.store.read(None, organisations.everyone):
        return None
    first = _new(system, "My organisation")

    async def make(tx: Transaction) -> bool:
        if await agreements.agree(tx, FIRST, first.id) != first.id:
            return False  # another node has just started first
        await agreements.check_whole(
            tx
        )  # the store was empty when it was opened; a copy may have begun since
        await organisations.insert(tx, first)
        return True

    return await _furnish(system, first) if await system.store.write(None, make) else None


async def create(system: System, name: str) -> NewOrganisation:
    """Make an organisation with an owner, the owner's key and a default agent."""
    check_text("name", name, characters_max=system.limits.name_characters_max)
    organisation = _new(system, name)

    async def make(tx: Transaction) -> None:
        await organisations.insert(tx, organisation)

    await system.store.write(None, make)
    return await _furnish(system, organisation)


def _new(system: System, name: str) -> Organisation:
    return Organisation(OrganisationId(system.entropy.uuid7()), name, system.clock.now_us(), None)


async def _furnish(system: System, organisation: Organisation) -> NewOrganisation:
    now = system.clock.now_us()
    owner = _owner(system, organisation, now)

    async def body(tx: Transaction) -> None:
        await principals.insert(tx, owner)
        await agents.insert(tx, _default_agent(system, organisation, now))

    await system.store.write(organisation.id, body)
    ctx = Context(system, operator(organisation.id, owner.id))
    shown = await keys.create(ctx, keys.NewKey(owner.id, "first key"))
    return NewOrganisation(organisation, owner.id, shown.credential.id, shown.secret)


async def list_organisations(system: System) -> list[Organisation]:
    """All organisations, oldest first."""
    return await system.store.read(None, organisations.everyone)


async def set_suspended(system: System, organisation_id: OrganisationId, *, is_suspended: bool) -> None:
    """Shut all of an organisation's credentials out at once, or let them in again. Raises `NotFound`."""
    suspended_at = system.clock.now_us() if is_suspended else None

    async def body(tx: Transaction) -> bool:
        return await organisations.set_suspended(tx, organisation_id, suspended_at)

    if not await system.store.write(None, body):
        raise NotFound("Organisation")


def operator(organisation_id: OrganisationId, principal_id: PrincipalId) -> Principal:
    """Whoever holds the database file may do everything: the principal of the command line."""
    return Principal(
        organisation_id=organisation_id,
        id=principal_id,
        kind="person",
        role="owner",
        name="operator",
        scopes=effective_scopes("owner", ()),
        credential_kind="session",
    )


def _owner(system: System, organisation: Organisation, now: int) -> Account:
    return Account(
        organisation_id=organisation.id,
        id=PrincipalId(system.entropy.uuid7()),
        kind="person",
        role="owner",
        name=OWNER_NAME,
        email=None,
        external_id=None,
        profile_image_url="",
        password_hash=None,
        session_stamp=system.entropy.secret(22),
        created_at=now,
        disabled_at=None,
    )


def _default_agent(system: System, organisation: Organisation, now: int) -> Agent:
    return Agent(
        organisation_id=organisation.id,
        id=AgentId(system.entropy.uuid7()),
        name=DEFAULT_AGENT_NAME,
        prompt=DEFAULT_AGENT_PROMPT,
        greeting_mode="agent_static",
        greeting_message=DEFAULT_AGENT_GREETING,
        model_id=None,
        created_at=now,
        updated_at=now,
    )
