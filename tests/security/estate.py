"""What an organisation owns in the isolation tests: one of everything, with a word in it that nobody else may ever see.

`plant` gives the ids by slot name; the tables of routes write `@chat`, `@folder` … where an id sits in a request.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chatkeep.domain.chat import NewChat
from chatkeep.domain.ids import AgentId, ChatId, OrganisationId, PrincipalId
from chatkeep.domain.message import NewMessage
from chatkeep.domain.page import write_cursor
from chatkeep.domain.principal import Role
from chatkeep.services import agents, chats, keys, organisations, people
from chatkeep.services.context import Context
from chatkeep.store.driver import Transaction
from tests.security.rows import Rows, Statement
from tests.world import Caller, World

CANARY = "kanarienvogel"
"""Planted in every text of organisation A."""

SESSION = "5a9f6c1e-3b7d-4e0a-8c2f-1d6b4a90{}"
FREE = "9c1d2e3f-4a5b-4c6d-8e7f-0a1b2c3d4e5f"
FAR_US = 4_000_000_000_000_000
TWIN_LACKS = {
    "extra_message": ("messages", "id"),
    "extra_model": ("models", "id"),
    "extra_person": ("principals", "id"),
    "extra_folder": ("folders", "id"),
    "extra_external": ("principals", "external_id"),
    "talked": ("open_sockets", "chat_id"),
}
"""Slots of things that the twin organisation does not have, though it has everything around them: table and column."""
NAMED = (
    ("organisations", "id", ("name",)),
    ("principals", "organisation_id", ("name",)),
    ("agents", "organisation_id", ("name", "prompt", "greeting_message")),
    ("models", "organisation_id", ("display_name", "deprecation_notice", "profile_id")),
)


@dataclass(frozen=True)
class Estate:
    """An organisation, its owner's credential, and the ids of what it owns by slot name (without the `@`)."""

    owner: Caller
    ids: Mapping[str, str]

    @property
    def organisation_id(self) -> str:
        return self.owner.organisation_id


async def plant(world: World, rows: Rows, owner: Caller, word: str) -> Estate:
    """Give an organisation one of everything; `word` is in every text and name."""
    ctx = operator(world, owner)
    person, extra_person = await colleague(world, owner, "member"), await colleague(world, owner, "member")
    system_model = (await world.native("GET", "/models", owner))["items"][0]["id"]
    model = await world.native("POST", "/models", owner, **_model(word, system_model))
    extra_model = await world.native(
        "POST", "/models", owner, **_model(word, system_model), is_recommended=True
    )
    folder = await world.native("POST", "/folders", owner, name=f"folder {word}")
    extra_folder = await world.native("POST", "/folders", owner, name=f"second folder {word}")
    people_ids = [person.principal_id]
    chat = await world.native(
        "POST", "/chats", owner, **_chat(word, model["id"], folder["id"]), shared_with=people_ids
    )
    shared = await world.native(
        "POST", "/chats", owner, **_chat(word, model["id"], None), visibility="shared", shared_with=people_ids
    )
    at = f"/chats/{chat['id']}"
    document = await world.native(
        "POST", f"{at}/documents", owner, filename=f"{word}.txt", text=f"document {word}"
    )
    share = await world.native("POST", f"{at}/share", owner)
    busy = await world.native("POST", "/chats", owner, **_chat(word, model["id"], None))
    deleted = await world.native("POST", "/chats", owner, title=f"deleted {word}")
    await world.native("DELETE", f"/chats/{deleted['id']}", owner)
    agent_id = (await agents.list_agents(ctx, limit=1, offset=0)).items[0].id
    session = NewChat(dialect="synthflow", id=ChatId(SESSION.format(_digits(word))), metadata={"word": word})
    await agents.open_session(ctx, AgentId(agent_id), session)
    vouched, lexicon_chat = await _vouched_chat(world, ctx, f"pupil-{_digits(word)}", word)
    _, talked = await _vouched_chat(world, ctx, vouched, word)
    extra_vouched, _ = await _vouched_chat(world, ctx, f"scholar-{_digits(word)}", word)
    email = f"reader{_digits(word)}@example.org"
    await people.create(ctx, people.SignUp("Reader", email, f"password {word}"), "member")
    client = await people.create_service(ctx, "client", "admin")
    grant = await keys.create(ctx, keys.NewKey(client.id, "client", kind="client"))
    ids = {
        "chat": chat["id"],
        "message": chat["messages"][0]["id"],
        "answer": chat["messages"][1]["id"],
        "shared": shared["id"],
        "shared_message": shared["messages"][0]["id"],
        "extra_message": shared["messages"][1]["id"],
        "busy": busy["id"],
        "run": f"01990000-1111-7000-8000-00000000{_digits(word)}",
        "deleted": deleted["id"],
        "document": document["id"],
        "folder": folder["id"],
        "extra_folder": extra_folder["id"],
        "share": share["id"],
        "model": model["id"],
        "extra_model": extra_model["id"],
        "system_model": system_model,
        "agent": agent_id,
        "session": str(session.id),
        "person": person.principal_id,
        "extra_person": extra_person.principal_id,
        "owner": owner.principal_id,
        "external": vouched,
        "extra_external": extra_vouched,
        "email": email,
        "password": f"password {word}",
        "client": grant.credential.id,
        "client_secret": grant.secret,
        "tag": f"Tag {word}",
        "lexicon_chat": lexicon_chat,
        "talked": talked,
        "free": FREE,
        "chats_cursor": (await world.native("GET", "/chats?limit=1", owner))["next_cursor"],
        "runs_cursor": write_cursor(f"01990000-2222-7000-8000-00000000{_digits(word)}"),
        "models_cursor": (await world.native("GET", "/models?limit=1", owner))["next_cursor"],
    }
    await rows.change(*_finish(owner.organisation_id, word, ids))
    return Estate(owner, ids)


async def colleague(
    world: World, owner: Caller, role: Role, scopes: tuple[str, ...] = (), *, expires_in_s: int | None = None
) -> Caller:
    """A service of the owner's organisation with a key: made quicker than a person, whose password must be hashed."""
    ctx = operator(world, owner)
    account = await people.create_service(ctx, f"{role} colleague", role)
    shown = await keys.create(ctx, keys.NewKey(account.id, "test", scopes=scopes, expires_in_s=expires_in_s))
    return Caller(shown.secret, shown.credential.id, account.id, owner.organisation_id)


def operator(world: World, owner: Caller) -> Context:
    """The context of the command line for the owner's organisation."""
    organisation_id = OrganisationId(owner.organisation_id)
    return Context(world.system, organisations.operator(organisation_id, PrincipalId(owner.principal_id)))


def lookalike(value: str, seed: int = 1) -> str:
    """Something of the same form as an id or cursor that names nothing; an id of the same time, so of the same place in
    lists, of which its first 18 characters tell (`ports.SharedEntropy`).
    """
    dice = random.Random(f"{seed} {value}")
    inside = _inside(value)
    if inside is not None:
        parts = [lookalike(part, seed) if isinstance(part, str) else part for part in inside]
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")
    return "".join(
        _other(character, dice) if place >= 18 or len(value) != 36 else character
        for place, character in enumerate(value)
    )


def _other(character: str, dice: random.Random) -> str:
    if character in string.hexdigits.lower():
        return dice.choice("0123456789" if character.isdigit() else "abcdef")
    return dice.choice(string.ascii_lowercase) if character.islower() else character


def _inside(value: str) -> list[Any] | None:
    try:
        found = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _model(word: str, parent_id: str) -> dict[str, Any]:
    return {
        "display_name": f"model {word}",
        "description": f"about {word}",
        "context_window": 8192,
        "parent_model_id": parent_id,
        "system_prompt": f"prompt {word}",
        "system_prompt_id": f"prompt-{word}",
        "metadata": {word: word},
    }


def _chat(word: str, model_id: str, folder_id: str | None) -> dict[str, Any]:
    question = {
        "role": "user",
        "content": f"question {word}",
        "metadata": {word: word},
        "media_type": "image/png",
        "media_url": f"https://{word}.example/1.png",
    }
    answer = {
        "role": "assistant",
        "content": f"answer {word}",
        "tool_calls": [{"id": word, "function": {"name": "f", "arguments": "{}"}}],
    }
    return {
        "title": f"title {word}",
        "model_id": model_id,
        "folder_id": folder_id,
        "system_prompt": f"prompt {word}",
        "metadata": {"plain": word, word: {"nested": word}},
        "tags": [f"Tag {word}"],
        "source": f"source {word}",
        "messages": [question, answer],
    }


async def _vouched_chat(world: World, ctx: Context, external_id: str, word: str) -> tuple[str, str]:
    async def vouch(tx: Transaction) -> PrincipalId:
        account, _ = await people.vouched(tx, ctx, external_id)
        return account.id

    owner_id = await ctx.write(vouch)
    new = NewChat(dialect="lexicon", owner_id=owner_id, title=f"lesson {word}", metadata={word: word})
    said = [NewMessage("user", f"spoken {word}"), NewMessage("assistant", f"replied {word}")]
    return external_id, (await chats.create(ctx, new, said)).chat.id


def _finish(organisation_id: str, word: str, ids: Mapping[str, str]) -> Iterator[Statement]:
    """What the API does not let one do: the word in every name, an old model, a run that does not end."""
    for table, key, columns in NAMED:
        changes = ", ".join(f"{column} = coalesce({column}, '') || ' {word}'" for column in columns)
        yield f"UPDATE {table} SET {changes} WHERE {key} = ?", (organisation_id,)
    yield "UPDATE models SET created_at = 1 WHERE id = ?", (ids["extra_model"],)
    yield from _begin_run(organisation_id, word, ids)


def _begin_run(organisation_id: str, word: str, ids: Mapping[str, str]) -> Iterator[Statement]:
    """An answer of another process that has said a little and grows for ever; and tokens used long ago."""
    chat_id, run_id = ids["busy"], ids["run"]
    answer_id = f"answer-{_digits(word)}"
    yield _insert(
        "runs",
        organisation_id=organisation_id,
        id=run_id,
        chat_id=chat_id,
        principal_id=ids["owner"],
        question_id="-",
        answer_id=answer_id,
        model_id=ids["model"],
        wish="{}",
        state="running",
        first_seq=4,
        holder=f"holder {word}",
        lease_until=FAR_US,
        started_at=1,
        error=word,
    )
    where = "WHERE organisation_id = ? AND chat_id = ?"
    yield (
        f"UPDATE messages SET id = ?, status = 'generating' {where} AND seq = 2",
        (answer_id, organisation_id, chat_id),
    )
    changed = "status = 'generating', version = 5, current_message_id = ?"
    yield (
        f"UPDATE chats SET {changed} WHERE organisation_id = ? AND id = ?",
        (answer_id, organisation_id, chat_id),
    )
    for seq, kind, text in ((4, "run.started", None), (5, "run.delta", f"grown {word}")):
        event = {"seq": seq, "kind": kind, "text": text, "at": 1, "run_id": run_id}
        yield _insert("events", organisation_id=organisation_id, chat_id=chat_id, **event)
    yield _insert("budgets", organisation_id=organisation_id, started_at=1, tokens=5)
    node_id = f"node-{_digits(word)}"
    yield _insert("nodes", id=node_id, name=word, version="1", started_at=1, seen_at=FAR_US)
    stream = {"principal_id": ids["person"], "node_id": node_id, "count": 1}
    yield _insert("open_streams", organisation_id=organisation_id, **stream)
    socket = {"chat_id": ids["talked"], "node_id": node_id, "count": 1}
    yield _insert("open_sockets", organisation_id=organisation_id, **socket)


def _insert(table: str, **row: Any) -> Statement:
    places = ", ".join("?" * len(row))
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", tuple(row.values())


def _digits(word: str) -> str:
    return f"{sum(word.encode()) % 10_000:04d}"
