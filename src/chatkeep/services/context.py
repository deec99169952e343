"""What every verb gets: the system's parts and the caller, with the three ways into the store.

A `Claim` makes a write happen once for an Idempotency-Key: the request, its effect and its answer are one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chatkeep.domain.errors import IdempotencyInFlight, IdempotencyMismatch, ProviderFailed
from chatkeep.domain.ids import ChatId, Clock, Entropy
from chatkeep.domain.limits import Limits
from chatkeep.domain.principal import Principal
from chatkeep.domain.run import INTERRUPTED
from chatkeep.domain.text import US
from chatkeep.models.port import Provider
from chatkeep.services.keyring import Keyring
from chatkeep.store import idempotency
from chatkeep.store.driver import Body, Store, Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's choices that verbs follow. Times in seconds."""

    is_sign_up_open: bool = False
    session_s: int = 28 * 24 * 3600
    access_token_s: int = 3600
    ephemeral_ttl_s: int = 24 * 3600
    issuer: str = "chatkeep"
    fold_after_s: float = 3600
    purge_deleted_after_s: float | None = None
    allowed_origins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class System:
    """The parts that the wiring put together; the same for all requests of a process."""

    store: Store
    clock: Clock
    entropy: Entropy
    limits: Limits
    policy: Policy
    keyring: Keyring
    providers: Mapping[str, Provider]
    node: str
    """The id under which this process holds runs; another one after each start."""
    node_name: str
    started_at: int


class Replay(Exception):
    """The request was answered before; this is that answer."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


Answer = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Note:
    """What is remembered of a request: its answer, or None when that comes later (`settle`), and the answer's headers.

    It is forgotten with the chat it is about when that is deleted for good, as the answer holds the chat's texts.
    """

    chat_id: ChatId | None
    answer: Answer | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """One request under an Idempotency-Key. `render` turns what the write returned into what is to be remembered."""

    name: idempotency.RequestKey
    fingerprint: bytes
    render: Callable[[Any], Note]

    async def guard(self, tx: Transaction, *, now_us: int, memory_s: int) -> None:
        """Be the first with this key; raise `Replay`, `IdempotencyMismatch` or `IdempotencyInFlight` if it was used."""
        not_before = now_us - memory_s * US
        seen = await idempotency.claim(tx, self.name, self.fingerprint, now=now_us, not_before=not_before)
        if seen is None:
            return
        if seen.fingerprint != self.fingerprint:
            raise IdempotencyMismatch()
        if seen.status is None:
            raise IdempotencyInFlight()
        if seen.status == idempotency.LOST:
            raise ProviderFailed(INTERRUPTED)
        raise Replay(seen.status, seen.body or b"", seen.headers)

    async def remember(self, tx: Transaction, result: object) -> None:
        """Write its answer down, in the transaction of its effect."""
        note = self.render(result)
        await idempotency.note(tx, self.name, note.answer, note.headers, chat_id=note.chat_id)

    async def settle(self, tx: Transaction, answer: Answer) -> None:
        """Add an answer that came later."""
        await idempotency.answer(tx, self.name, *answer)


@dataclass(frozen=True, slots=True)
class Context:
    """The caller of one request. All reads and writes through it are bound to the caller's organisation."""

    system: System
    principal: Principal
    claim: Claim | None = None

    def now_us(self) -> int:
        """The time, in microseconds UTC."""
        return self.system.clock.now_us()

    async def write(self, body: Callable[[Transaction], Awaitable[T]], *, about: ChatId | None = None) -> T:
        """One durable transaction (see `Store.write`); once only where the request carries an Idempotency-Key."""
        claim = self.claim
        if claim is None:
            return await self.system.store.write(self.principal.organisation_id, body, about=about)

        async def once(tx: Transaction) -> T:
            await claim.guard(tx, now_us=self.now_us(), memory_s=self.system.limits.idempotency_memory_s)
            result = await body(tx)
            await claim.remember(tx, result)
            return result

        return await self.system.store.write(self.principal.organisation_id, once, about=about)

    async def read(self, body: Body[T]) -> T:
        """One snapshot off the event loop."""
        return await self.system.store.read(self.principal.organisation_id, body)

    async def peek(self, body: Body[T]) -> T:
        """A point read at once."""
        return await self.system.store.peek(self.principal.organisation_id, body)
