"""The store's port: transactions bound to one organisation, over named statements. Two plugs: SQLite, PostgreSQL.

A transaction body is an `async def body(tx)` that awaits nothing but `tx`. It may be run again after a conflict between
engines, so it must have no effect but through `tx`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, OrganisationId

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]
Value: TypeAlias = None | int | float | str | bytes
Place: TypeAlias = tuple[OrganisationId, ChatId]
"""A chat among all chats."""


class Transaction(Protocol):
    """Runs named statements of `queries/*.sql`.

    Bound to one organisation it fills `:organisation_id` in by itself and refuses `system_…` statements; unbound (work
    of the system itself) it takes nothing but those.
    """

    organisation_id: OrganisationId | None

    async def one(self, name: str, /, **values: Value) -> Row | None:
        """The first row, or None."""
        ...

    async def all(self, name: str, /, **values: Value) -> list[Row]:
        """All rows."""
        ...

    async def run(self, name: str, /, **values: Value) -> int:
        """Write; the number of rows touched.

        Raises `Conflict` where a key or reference forbids it; the body cannot go on then, it may only raise.
        """
        ...

    async def put(self, name: str, /, rows: Sequence[Mapping[str, Value]]) -> None:
        """Insert rows whose keys are sure to be new. They may wait and be sent with others of this commit, but are
        there for every statement that could tell.
        """
        ...

    def announce(self, event: Event) -> None:
        """Have an event of this transaction told to the store's listeners once it is durable."""
        ...


Listener: TypeAlias = Callable[[Sequence[Event]], None]
Elsewhere: TypeAlias = Callable[[Sequence[tuple[Place, int]]], None]
Summoned: TypeAlias = Callable[[], None]
Body: TypeAlias = Callable[[Transaction], Awaitable[T]]


class Store(Protocol):
    """One durable place. `write` returns only after its commit is on disk.

    `peek` is for one or two point reads and may run on the event loop; `read` is one snapshot on a reader of its own
    and may be long. `organisation_id` None is work of the system itself. Raises `StoreBusy`, `StoreFull`, `StoreLost`.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other servers may work on it at the same time."""
        ...

    async def write(
        self, organisation_id: OrganisationId | None, body: Body[T], *, about: ChatId | None = None
    ) -> T:
        """Run `body` in a transaction that is committed with others; an exception undoes just this body.

        `about`: the one chat whose rows it changes. Such writes are kept out of one another's way.
        """
        ...

    async def read(self, organisation_id: OrganisationId | None, body: Body[T]) -> T:
        """Run `body` on one snapshot, off the event loop."""
        ...

    async def peek(self, organisation_id: OrganisationId | None, body: Body[T]) -> T:
        """Run `body` on one snapshot, at once."""
        ...

    async def recall(self, organisation_id: OrganisationId | None, key: Hashable, body: Body[T]) -> T:
        """`peek`, or what it returned for this key before if the store is sure that nothing was committed since.

        `key` names the reader, the organisation and all values that `body` uses; what depends on time is checked after.
        Each of its statements may see what was committed since the one before.
        """
        ...

    def listen(self, listener: Listener) -> None:
        """Have `listener` called on the event loop with the events of each commit; of those `about` one chat in their
        order.
        """
        ...

    def hear(self, listener: Elsewhere) -> None:
        """Have `listener` called on the event loop with what other processes have committed, as far as they tell: each
        chat and its newest sequence.
        """
        ...

    def summon(self) -> None:
        """Have the other processes look after runs soon: one was given back, or one of theirs is to stop. It may be
        lost; they also look now and then.
        """
        ...

    def heed(self, listener: Summoned) -> None:
        """Have `listener` called on the event loop when another process summons."""
        ...

    def tell_moment(self, listener: Callable[[Hashable | None], object]) -> None:
        """Have `listener` called with a value that is equal to an earlier one only if no process has committed in
        between: at once, or on the event loop where somebody else must be asked. None: the store cannot tell.
        """
        ...

    def is_healthy(self) -> bool:
        """Whether writes are still taken."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then close."""
        ...
