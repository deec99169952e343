"""A chat's life as a state machine: the services over a store, beside a model of plain dictionaries.

Hypothesis picks what happens next; after every step the touched chat is read back in every way there is and compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    rule,
    run_state_machine_as_test,
)

from chatkeep.domain.chat import ChatChanges, ChatFilter, ChatThread, NewChat
from chatkeep.domain.errors import InvalidField, NotFound
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, MessageId, PrincipalId
from chatkeep.domain.limits import Limits
from chatkeep.domain.message import SPEAKING_ROLES, MessageRole, NewMessage
from chatkeep.ports import SystemEntropy
from chatkeep.services import chats, journal, messages, organisations
from chatkeep.services.context import Context, Policy, System
from chatkeep.services.keyring import Keyring
from chatkeep.store.driver import Store
from tests.contract.store.place import Place
from tests.world import FakeClock

ROLES: tuple[MessageRole, ...] = ("user", "assistant", "system")
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
SAID = st.lists(st.tuples(st.sampled_from(ROLES), TEXTS), min_size=1, max_size=4)


@dataclass
class Told:
    """A message as the model knows it."""

    id: str
    parent: str | None
    role: MessageRole
    text: str


@dataclass
class Modelled:
    """A chat as the model knows it."""

    id: ChatId
    said: list[Told] = field(default_factory=list)
    head: str | None = None
    is_deleted: bool = False

    def path(self) -> list[Told]:
        by_id = {told.id: told for told in self.said}
        found, at = [], self.head
        while at is not None:
            found.append(by_id[at])
            at = by_id[at].parent
        return found[::-1]


class ChatLife(RuleBasedStateMachine):
    """Set `open_store` in a subclass: an empty store for each run."""

    open_store: Callable[[], Store]
    keyring: Keyring
    alive = Bundle("alive")
    deleted = Bundle("deleted")

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.clock = FakeClock()
        self.store = type(self).open_store()
        self.system = System(
            store=self.store,
            clock=self.clock,
            entropy=SystemEntropy(),
            limits=Limits(),
            policy=Policy(),
            keyring=type(self).keyring,
            providers={},
            node="node",
            node_name="node",
            started_at=0,
        )
        made = self.run(organisations.create(self.system, "Acme"))
        self.ctx = Context(
            self.system, organisations.operator(made.organisation.id, PrincipalId(made.owner_id))
        )
        self.chats: dict[ChatId, Modelled] = {}

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.store.close())
            self.runner.close()

    @rule(target=alive, said=st.just([]) | SAID, title=st.none() | TEXTS)
    def create(self, said: list[tuple[MessageRole, str]], title: str | None) -> ChatId:
        thread = self.run(chats.create(self.ctx, NewChat("native", title=title), _new(said)))
        chat = self.chats[thread.chat.id] = Modelled(thread.chat.id)
        self._note(chat, said, [str(message.id) for message in thread.messages], None)
        self._compare(chat)
        return chat.id

    @rule(chat_id=alive, said=SAID)
    def append(self, chat_id: ChatId, said: list[tuple[MessageRole, str]]) -> None:
        chat = self.chats[chat_id]
        written = self.run(messages.append(self.ctx, chat_id, _new(said)))
        self._note(chat, said, [str(message.id) for message in written], chat.head)
        self._compare(chat)

    @rule(chat_id=alive, said=SAID, data=st.data())
    def branch(self, chat_id: ChatId, said: list[tuple[MessageRole, str]], data: st.DataObject) -> None:
        chat = self.chats[chat_id]
        parent = data.draw(st.sampled_from([None, *(told.id for told in chat.said)]))
        first, *rest = _new(said)
        first = replace(
            first, is_root=parent is None, parent_id=None if parent is None else MessageId(parent)
        )
        written = self.run(messages.append(self.ctx, chat_id, [first, *rest]))
        self._note(chat, said, [str(message.id) for message in written], parent)
        self._compare(chat)

    @rule(chat_id=alive, data=st.data())
    def go_back(self, chat_id: ChatId, data: st.DataObject) -> None:
        chat = self.chats[chat_id]
        if not chat.said:
            return
        chat.head = data.draw(st.sampled_from([told.id for told in chat.said]))
        changes = ChatChanges(current_message_id=MessageId(chat.head))
        self.run(chats.update(self.ctx, chat_id, changes))
        self._compare(chat)

    @rule(chat_id=alive, said=SAID, data=st.data())
    def fail(self, chat_id: ChatId, said: list[tuple[MessageRole, str]], data: st.DataObject) -> None:
        """A message that cannot be hung in takes those before it down with it."""
        wrong = replace(_new([("user", "lost")])[0], parent_id=MessageId("nobody"))
        place = data.draw(st.integers(0, len(said)))
        new = _new(said)
        with pytest.raises(InvalidField):
            self.run(messages.append(self.ctx, chat_id, [*new[:place], wrong, *new[place:]]))
        self._compare(self.chats[chat_id])

    @rule(target=deleted, chat_id=consumes(alive))
    def delete(self, chat_id: ChatId) -> ChatId:
        self.run(chats.delete(self.ctx, chat_id))
        self.chats[chat_id].is_deleted = True
        self._compare(self.chats[chat_id])
        return chat_id

    @rule(target=alive, chat_id=consumes(deleted))
    def restore(self, chat_id: ChatId) -> ChatId:
        self.run(chats.restore(self.ctx, chat_id))
        self.chats[chat_id].is_deleted = False
        self._compare(self.chats[chat_id])
        return chat_id

    @rule(chat_id=consumes(alive))
    def purge(self, chat_id: ChatId) -> None:
        self.run(chats.purge(self.ctx, chat_id))
        chat = self.chats.pop(chat_id)
        chat.is_deleted = True
        self._compare(chat)
        with pytest.raises(NotFound):
            self.run(chats.restore(self.ctx, chat_id))

    @rule()
    def look_around(self) -> None:
        for is_deleted in (False, True):
            wanted = {chat.id for chat in self.chats.values() if chat.is_deleted is is_deleted}
            listed: list[ChatId] = []
            cursor: str | None = None
            while True:
                chosen = ChatFilter(owner_id=self.ctx.principal.id, is_deleted=is_deleted)
                listing = self.run(chats.list_chats(self.ctx, chosen, cursor=cursor, limit=2))
                listed += [chat.id for chat in listing.page.items]
                assert listing.total_count == len(wanted)
                cursor = listing.page.next_cursor
                if cursor is None:
                    break
            assert len(listed) == len(wanted)
            assert set(listed) == wanted

    def _note(
        self, chat: Modelled, said: list[tuple[MessageRole, str]], ids: list[str], parent: str | None
    ) -> None:
        assert len(ids) == len(said)
        for (role, text), message_id in zip(said, ids, strict=True):
            chat.said.append(Told(message_id, parent, role, text))
            parent = chat.head = message_id

    def _compare(self, chat: Modelled) -> None:
        if chat.is_deleted:
            for verb in (chats.read, chats.get, chats.peek):
                with pytest.raises(NotFound):
                    self.run(verb(self.ctx, chat.id))
            return
        thread = self.run(chats.read(self.ctx, chat.id))
        assert [(m.id, m.parent_id, m.role, m.content) for m in thread.messages] == _rows(chat.said)
        assert [message.seq for message in thread.messages] == list(range(1, len(chat.said) + 1))
        assert [message.id for message in thread.path] == [told.id for told in chat.path()]
        assert thread.chat.last_seq == len(chat.said)
        assert thread.chat.current_message_id == chat.head
        spoken = [told.role in SPEAKING_ROLES for told in chat.path()]
        assert thread.chat.message_count == sum(spoken)
        assert [message.turn_number for message in thread.path] == [
            sum(spoken[: place + 1]) for place in range(len(spoken))
        ]
        self._compare_journal(thread)
        assert self.run(chats.get(self.ctx, chat.id)) == thread.chat
        assert self.run(chats.peek(self.ctx, chat.id)) == thread.chat.access
        for branch, wanted in (("path", chat.path()), ("all", chat.said)):
            for direction in ("asc", "desc"):
                ordered = _rows(wanted if direction == "asc" else wanted[::-1])
                assert self._listed(chat.id, branch, direction) == ordered

    def _compare_journal(self, thread: ChatThread) -> None:
        """Whoever keeps up with the events knows what a reader is shown."""
        told: list[Event] = []
        while page := self.run(journal.after(self.ctx, thread.chat.id, len(told))):
            assert isinstance(page, list)
            told += page
        assert [event.seq for event in told] == list(range(1, thread.chat.version + 1))
        known: dict[str, Any] = {}
        for event in told:
            known.update(event.chat or {})
        shown = {name: getattr(thread.chat, name) for name in known}
        assert known == {
            name: list(value) if isinstance(value, tuple) else value for name, value in shown.items()
        }
        assert {"title", "current_message_id", "message_count", "updated_at"} <= known.keys()
        assert [event.message for event in told if event.message is not None] == thread.messages

    def _listed(self, chat_id: ChatId, branch: Any, direction: Any) -> list[tuple[str, str | None, str, str]]:
        items: list[tuple[str, str | None, str, str]] = []
        cursor: str | None = None
        while True:
            page = self.run(
                messages.list_messages(
                    self.ctx, chat_id, branch=branch, direction=direction, cursor=cursor, limit=3
                )
            )
            items += [(m.id, m.parent_id, m.role, m.content) for m in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return items


class LifeContract:
    """Subclass it in a test module with a fixture `new_place`: makes an empty place at each call."""

    runs, steps = 12, 20

    def test_chats_live_as_their_model(self, new_place: Callable[[], Place], keyring: Keyring) -> None:
        self._live(new_place, keyring, runs=self.runs, steps=self.steps, repeats=True)

    @pytest.mark.long
    def test_chats_live_as_their_model_for_long(
        self, new_place: Callable[[], Place], keyring: Keyring
    ) -> None:
        self._live(new_place, keyring, runs=1_000, steps=50, repeats=False)

    def _live(
        self, new_place: Callable[[], Place], keyring: Keyring, *, runs: int, steps: int, repeats: bool
    ) -> None:
        class Life(ChatLife):
            open_store = staticmethod(lambda: new_place().open())

        Life.keyring = keyring
        chosen = settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            derandomize=repeats,
            phases=(Phase.generate,) if repeats else tuple(Phase),  # quick also when it fails
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(Life, settings=chosen)


def _new(said: list[tuple[MessageRole, str]]) -> list[NewMessage]:
    return [NewMessage(role, text) for role, text in said]


def _rows(said: list[Told]) -> list[tuple[str, str | None, str, str]]:
    return [(told.id, told.parent, told.role, told.text) for told in said]
