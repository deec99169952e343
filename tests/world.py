"""A whole server in the test's own process: real wiring, real store, real HTTP application, scripted upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from chatkeep import wiring
from chatkeep.config import ProviderSettings, Settings
from chatkeep.domain.ids import CredentialId, OrganisationId, PrincipalId
from chatkeep.domain.principal import Role
from chatkeep.services import keys, models, organisations, people
from chatkeep.services.context import Context, System
from tests.upstream import ScriptedUpstream

NOON_2026_US = 1_767_268_800_000_000
NATIVE = "/chatkeep/v1"


class FakeClock:
    """A clock that moves by a microsecond at each look, so that no two events share a time, and by more when told."""

    def __init__(self) -> None:
        self._now_us = NOON_2026_US

    def now_us(self) -> int:
        self._now_us += 1
        return self._now_us

    def advance(self, seconds: float) -> None:
        """Turn the clock forward."""
        self._now_us += round(seconds * 1_000_000)


@dataclass(frozen=True)
class Caller:
    """Somebody with an API key."""

    key: str
    credential_id: str
    principal_id: str
    organisation_id: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def x_api_key(self) -> dict[str, str]:
        return {"X-API-Key": self.key}


class World:
    """The running server and the people of its organisations."""

    def __init__(
        self, server: wiring.Server, clock: FakeClock, upstream: ScriptedUpstream, owner: Caller
    ) -> None:
        self.server = server
        self.clock = clock
        self.upstream = upstream
        self.owner = owner
        transport = httpx.ASGITransport(app=server.edge)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://chatkeep.test", timeout=30)

    @property
    def system(self) -> System:
        return self.server.house.system

    async def native(self, method: str, path: str, caller: Caller | None = None, **json: Any) -> Any:
        """One request to the native API that must succeed; its JSON. `caller` None is the owner."""
        headers = (caller or self.owner).bearer
        response = await self.client.request(method, NATIVE + path, headers=headers, json=json or None)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    async def person(
        self,
        role: Role = "member",
        scopes: tuple[str, ...] = (),
        *,
        expires_in_s: int | None = None,
        organisation: Caller | None = None,
    ) -> Caller:
        """A new person of the owner's organisation (or another one's) with a key."""
        ctx = self._operator(organisation or self.owner)
        self._people = getattr(self, "_people", 0) + 1
        number = self._people
        wanted = people.SignUp(f"Person {number}", f"person{number}@example.org", "correct horse battery")
        account = await people.create(ctx, wanted, role)
        return await self._key(ctx, account.id, scopes, expires_in_s)

    async def service(self, role: Role = "admin", scopes: tuple[str, ...] = ()) -> Caller:
        """A new service of the owner's organisation with a key."""
        ctx = self._operator(self.owner)
        account = await people.create_service(ctx, "service", role)
        return await self._key(ctx, account.id, scopes, None)

    async def client_credentials(
        self, role: Role = "member", scopes: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """Client id and secret of a new service of the owner's organisation."""
        ctx = self._operator(self.owner)
        account = await people.create_service(ctx, "client", role)
        shown = await keys.create(ctx, keys.NewKey(account.id, "client", kind="client", scopes=scopes))
        return shown.credential.id, shown.secret

    async def organisation(self, name: str = "Other") -> Caller:
        """The owner of a new organisation, whose catalogue has the same models."""
        caller = _caller(await organisations.create(self.system, name))
        for provider in self.system.providers.values():
            await models.sync(self.system, provider)
        return caller

    async def revoke(self, caller: Caller) -> None:
        """Revoke the caller's key."""
        await keys.revoke(self._operator(caller), CredentialId(caller.credential_id))

    async def disable(self, caller: Caller) -> None:
        """Shut the caller's account out."""
        await people.set_disabled(self._operator(caller), PrincipalId(caller.principal_id), is_disabled=True)

    async def suspend(self, caller: Caller) -> None:
        """Suspend the caller's organisation."""
        await organisations.set_suspended(
            self.system, OrganisationId(caller.organisation_id), is_suspended=True
        )

    async def until_said(self, chat_id: str, text: str = "", *, after: int = 0) -> None:
        """Wait until a running answer of the chat has said something that holds `text`, by its journal."""
        said = ""
        while not said or text not in said:
            page = await self.native("GET", f"/chats/{chat_id}/events?after={after}&wait_s=10")
            said += "".join(each["text"] for each in page["items"] if each["type"] == "run.delta")
            assert page["after"] > after, "nothing was said for ten seconds"
            after = page["after"]

    def _operator(self, caller: Caller) -> Context:
        organisation_id = OrganisationId(caller.organisation_id)
        return Context(self.system, organisations.operator(organisation_id, PrincipalId(caller.principal_id)))

    async def _key(
        self, ctx: Context, principal_id: PrincipalId, scopes: tuple[str, ...], expires_in_s: int | None
    ) -> Caller:
        new = keys.NewKey(principal_id, "test", scopes=scopes, expires_in_s=expires_in_s)
        shown = await keys.create(ctx, new)
        return Caller(shown.secret, shown.credential.id, principal_id, ctx.principal.organisation_id)


@asynccontextmanager
async def open_world(
    data: Path, clock: FakeClock, upstream: ScriptedUpstream, **settings: Any
) -> AsyncIterator[World]:
    """Start a server on `data`; with an old folder the owner gets a further key."""
    chosen = Settings(
        data=data,
        local_model=False,
        log_requests=False,
        sweep_interval_s=3600,
        providers={"scripted": ProviderSettings(base_url=upstream.base_url)},
        **{"lexicon_requests_per_minute": 0, **settings},
    )
    system = wiring.make_system(chosen, clock=clock)
    first = await wiring.first_start(system)
    owner = _caller(first) if first is not None else await _again(system)
    for provider in system.providers.values():
        await models.sync(system, provider)
    server = wiring.make_server(chosen, system)
    async with wiring.running(server.house, chosen):
        world = World(server, clock, upstream, owner)
        async with world.client:
            yield world
            await asyncio.sleep(0)


def _caller(made: organisations.NewOrganisation) -> Caller:
    return Caller(made.key, made.credential_id, made.owner_id, made.organisation.id)


async def _again(system: System) -> Caller:
    organisation = (await organisations.list_organisations(system))[0]
    accounts = await people.list_people(
        Context(system, organisations.operator(organisation.id, PrincipalId("-")))
    )
    owner = next(account for account in accounts if account.role == "owner")
    ctx = Context(system, organisations.operator(organisation.id, owner.id))
    shown = await keys.create(ctx, keys.NewKey(owner.id, "again"))
    return Caller(shown.secret, shown.credential.id, owner.id, organisation.id)
