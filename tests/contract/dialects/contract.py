"""What every dialect promises, whatever its vendor's shapes: subclass it, name the speaker, and nothing else.

The two cross laws (what was written here reads back here, and reads in every other dialect), conditional reading,
errors in the dialect's own shape for everything a client can do wrong, and one answer for all ids that are not the
caller's.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar
from urllib.parse import quote

import httpx
import pytest

from chatkeep.domain.errors import ChatkeepError
from tests.contract.dialects.hostile import EMPTY, bodies, texts
from tests.contract.dialects.speaking import SPEAKERS, Speaker
from tests.security.rows import Rows, open_rows
from tests.security.surface import built, operations
from tests.world import Caller, World

UNKNOWN = "0f9d7c1a-5b3e-4a2d-9c8b-7a6f5e4d3c2b"
MALFORMED = ("no such thing", "x" * 5_000, "%", "ß", "a\x00b", "\x7f", "\ud7ff")
ARGUMENTS = {
    "field": "title",
    "location": ("title",),
    "message": "must be shorter",
    "noun": "Chat",
    "retry_after_s": 7,
    "scope": "chat:read",
}


@pytest.fixture
async def rows(world: World, superuser_url: str | None) -> AsyncIterator[Rows]:
    """The database seen from outside."""
    async with open_rows(world, superuser_url) as opened:
        yield opened


class DialectContract:
    """The promises; `speaker` is a client of the dialect. `malformed` are ids that answer as unknown ones do."""

    speaker: ClassVar[Speaker]
    malformed: ClassVar[tuple[str, ...]] = MALFORMED

    # --- the two cross laws -------------------------------------------------------------------------------

    async def test_what_was_written_here_reads_back_here(self, world: World) -> None:
        chat_id, said = await self.speaker.make(world, world.owner)
        assert await self.speaker.path(world, world.owner, chat_id) == said

    @pytest.mark.parametrize("reader", SPEAKERS, ids=lambda speaker: speaker.name)
    async def test_what_was_written_here_reads_the_same_elsewhere(
        self, world: World, reader: Speaker
    ) -> None:
        chat_id, said = await self.speaker.make(world, world.owner)
        assert await reader.path(world, world.owner, chat_id) == said

    async def test_an_imported_chat_with_all_roles_keeps_its_spoken_path_here(self, world: World) -> None:
        said = [
            ("system", "Be brief."),
            ("user", "Hi"),
            ("assistant", "Hello"),
            ("tool", "42"),
            ("assistant", "42!"),
        ]
        messages = [
            {"role": role, "content": text, **({"tool_call_id": "c1"} if role == "tool" else {})}
            for role, text in said
        ]
        made = await world.native("POST", "/chats", messages=messages)
        path = await self.speaker.path(world, world.owner, made["id"])
        assert [turn for turn in path if turn[0] in ("user", "assistant")] == [
            turn for turn in said if turn[0] in ("user", "assistant")
        ]

    # --- conditional reading --------------------------------------------------------------------------------

    async def test_an_unchanged_chat_is_304_and_a_changed_one_is_not(self, world: World) -> None:
        chat_id, _ = await self.speaker.make(world, world.owner)
        first = await self.get(world, chat_id)
        assert first.status_code == 200
        etag = first.headers["etag"]
        for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await self.get(world, chat_id, world.owner, **{"if-none-match": header})
            assert (again.status_code, again.content) == (304, b""), header
            assert again.headers["etag"] == etag
        await world.native(
            "POST", f"/chats/{chat_id}/messages", messages=[{"role": "user", "content": "more"}]
        )
        changed = await self.get(world, chat_id, world.owner, **{"if-none-match": etag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != etag
        assert (await self.get(world, chat_id)).content == changed.content != first.content

    async def test_a_304_tells_nothing_to_strangers(self, world: World) -> None:
        chat_id, _ = await self.speaker.make(world, world.owner)
        stranger = await world.organisation()
        for header in ((await self.get(world, chat_id)).headers["etag"], "*"):
            plain = await self.get(world, chat_id, stranger)
            asked = await self.get(world, chat_id, stranger, **{"if-none-match": header})
            assert (asked.status_code, asked.content) == (plain.status_code, plain.content)
            assert "etag" not in asked.headers

    async def test_what_is_kept_is_what_would_be_rendered_now(self, world: World) -> None:
        """Answers are kept by the chat's version: whatever else is in them must be looked up each time."""
        parent = (await world.native("GET", "/models"))["items"][0]["id"]
        card = {"display_name": "First name", "context_window": 8192, "parent_model_id": parent}
        model = await world.native("POST", "/models", **card)
        chat_id, _ = await self.speaker.make(world, world.owner)
        await world.native("POST", f"/chats/{chat_id}/generate", message="hello", model_id=model["id"])
        before = await self.get(world, chat_id)
        await world.native("PUT", f"/models/{model['id']}", **{**card, "display_name": "Second name"})
        kept = await self.get(world, chat_id)
        world.server.house.rendered._bodies.clear()
        rendered = await self.get(world, chat_id)
        assert kept.content == rendered.content
        if kept.content != before.content:
            assert kept.headers.get("etag") != before.headers.get("etag"), (
                "another answer under the same ETag"
            )

    # --- errors -----------------------------------------------------------------------------------------------

    async def test_every_domain_error_is_rendered(self, world: World) -> None:
        manner = built(world, self.speaker.name).manner
        kinds = sorted(_subclasses(ChatkeepError), key=lambda kind: kind.__name__)
        assert len(kinds) > 30
        for kind in kinds:
            for method in ("GET", "POST", "DELETE"):
                answer = _as_sent(manner.write_error(_sample(kind), method))
                assert 400 <= answer.status_code <= 599, kind
                self.speaker.check_error(answer)
                if kind.kind == "exhausted":
                    assert int(answer.headers["retry-after"]) >= 1

    async def test_errors_of_the_client_are_not_the_servers(self, world: World) -> None:
        manner = built(world, self.speaker.name).manner
        for kind in _subclasses(ChatkeepError):
            status = manner.write_error(_sample(kind), "GET").status_code
            is_ours = kind.kind == "unavailable" or kind is ChatkeepError
            assert (status >= 500) == is_ours, f"{kind.__name__} is {status}"

    async def test_an_unknown_route_is_404_in_the_dialects_shape(self, world: World) -> None:
        for path in ("/no/such/route", self.speaker.chat("x") + "/no/such/route"):
            answer = await self.ask(world, "GET", path, world.owner)
            assert answer.status_code == 404, answer.text
            self.speaker.check_error(answer)

    async def test_a_wrong_method_is_405_and_says_which_are_allowed(self, world: World) -> None:
        by_path: dict[str, set[str]] = {}
        for each in operations(world, self.speaker.name):
            by_path.setdefault(each.path, set()).add(each.method)
        for path, methods in sorted(by_path.items()):
            if path in ("/openapi.json", "/docs"):
                continue
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
                answer = await self.ask(world, method, path.replace("{chat_id}", UNKNOWN), world.owner)
                if answer.status_code in (404, self.speaker.statuses["not_found"]):
                    continue  # another template of the same form serves this method
                allowed = {name.strip() for name in answer.headers.get("allow", "").split(",")}
                assert answer.status_code == 405, f"{method} {path}: {answer.status_code} {answer.text}"
                self.speaker.check_error(answer)
                assert methods <= allowed, (
                    f"{method} {path}: Allow is {sorted(allowed)}, not {sorted(methods)}"
                )

    async def test_a_hot_route_answers_as_its_twin_in_fastapi(self, world: World) -> None:
        """ADR 6: the edge answers it before FastAPI; what is declared there for the document must be the same."""
        chat_id, _ = await self.speaker.make(world, world.owner)
        dialect = built(world, self.speaker.name)
        transport = httpx.ASGITransport(app=dialect.app, root_path=self.speaker.prefix)
        good = {**self.speaker.credential(world.owner.key), "content-type": "application/json"}
        unchanged = {**good, "if-none-match": (await self.get(world, chat_id)).headers["etag"]}
        async with httpx.AsyncClient(transport=transport, base_url=str(world.client.base_url)) as cold:
            for method, regex, _ in dialect.hot._routes:
                template = re.sub(r"\(\?P<chat_id>[^)]*\)", "{chat_id}", regex.pattern.strip("^$"))
                for known, headers, body in (
                    (chat_id, good, b"{}"),
                    (chat_id, unchanged, b"{"),
                    (chat_id, good, b'{"messages": [{"role": "nobody"}]}'),
                    (chat_id, {}, b"{}"),
                    (UNKNOWN, good, b'{"messages": [{"role": "user", "content": "x"}]}'),
                ):
                    url = self.speaker.prefix + template.replace("{chat_id}", known)
                    sent: dict[str, Any] = {"headers": headers, "content": body if method == "POST" else None}
                    hot_answer = await world.client.request(method, url, **sent)
                    cold_answer = await cold.request(method, url, **sent)
                    assert hot_answer.status_code == cold_answer.status_code, url
                    assert hot_answer.content == cold_answer.content, url
                    assert cold_answer.headers.items() <= hot_answer.headers.items(), url

    async def test_head_is_get_without_the_body(self, world: World) -> None:
        chat_id, _ = await self.speaker.make(world, world.owner)
        paths = [each.path for each in operations(world, self.speaker.name) if each.method == "GET"]
        assert paths
        for template in [*paths, "/no/such/route"]:
            for known in (chat_id, UNKNOWN):
                path = re.sub(r"{\w+}", UNKNOWN, template.replace("{chat_id}", known))
                head = await self.ask(world, "HEAD", path, world.owner)
                if head.headers["content-type"].startswith("text/event-stream"):
                    assert (head.status_code, head.content) == (200, b""), path
                    continue  # a GET has no end
                get = await self.ask(world, "GET", path, world.owner)
                assert (head.status_code, head.content) == (get.status_code, b""), path
                assert dict(head.headers) == dict(get.headers), path
        unchanged = {"if-none-match": (await self.get(world, chat_id)).headers["etag"]}
        url = self.speaker.prefix + self.speaker.chat(chat_id)
        headers = {**self.speaker.credential(world.owner.key), **unchanged}
        assert (await world.client.head(url, headers=headers)).status_code == 304
        assert (await world.client.head(url)).status_code == 401
        assert (await world.client.head(self.speaker.prefix + self.speaker.chats)).status_code in (401, 405)

    # --- who asks -----------------------------------------------------------------------------------------------

    async def test_without_a_credential_it_is_401(self, world: World) -> None:
        chat_id, _ = await self.speaker.make(world, world.owner)
        for headers in ({}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "}):
            answer = await world.client.get(self.speaker.prefix + self.speaker.chat(chat_id), headers=headers)
            assert answer.status_code == 401, (headers, answer.text)
            self.speaker.check_error(answer)

    async def test_all_credentials_that_are_no_good_get_one_answer(self, world: World) -> None:
        chat_id, _ = await self.speaker.make(world, world.owner)
        secrets = await _dead_keys(world)
        answers = {}
        for name, secret in secrets.items():
            for address in (chat_id, UNKNOWN):
                answer = await self.ask_with(world, "GET", self.speaker.chat(address), secret)
                assert answer.status_code == 401, (name, answer.text)
                self.speaker.check_error(answer)
                answers[name, address] = (answer.content, answer.headers.multi_items())
        assert len({repr(answer) for answer in answers.values()}) == 1, answers
        before = (await self.get(world, chat_id)).content
        for secret in secrets.values():
            assert not (await self.ask_with(world, "DELETE", self.speaker.chat(chat_id), secret)).is_success
        assert (await self.get(world, chat_id)).content == before

    # --- ids ----------------------------------------------------------------------------------------------------

    async def test_no_id_that_is_not_the_callers_tells_anything(self, world: World) -> None:
        gone = await self.gone_ids(world)
        addresses = [*gone.values(), *self.malformed]
        for method, suffix in self.by_id(world):
            answers: dict[str, list[str]] = {}
            for address in addresses:
                path = self.speaker.chat(quote(address, safe=""))
                answer = await self.ask(world, method, path + suffix, world.owner)
                answers.setdefault(repr((answer.content, answer.headers.multi_items())), []).append(
                    address[:40]
                )
                if method == "GET":
                    assert answer.status_code == self.speaker.statuses["not_found"], (address, answer.text)
                self.speaker.check_error(answer)
            assert len(answers) == 1, f"{method} {suffix}: {answers}"

    async def gone_ids(self, world: World) -> dict[str, str]:
        """Ids of chats that are not there for the owner, by why."""
        stranger = await world.organisation()
        foreign = await world.native("POST", "/chats", stranger, title="foreign")
        deleted = await world.native("POST", "/chats", title="deleted")
        await world.native("DELETE", f"/chats/{deleted['id']}")
        expired = await world.native("POST", "/chats", title="expired", ttl_s=60)
        world.clock.advance(61)
        return {
            "unknown": UNKNOWN,
            "foreign": foreign["id"],
            "deleted": deleted["id"],
            "expired": expired["id"],
        }

    def by_id(self, world: World) -> list[tuple[str, str]]:
        """Methods and what follows the chat's path, of the operations on one chat that need no body."""
        template = self.speaker.chat("{chat_id}")
        found = [
            (each.method, each.path.removeprefix(template))
            for each in operations(world, self.speaker.name)
            if each.path in (template, template + "/messages", template + "/documents", template + "/share")
            and each.method in ("GET", "DELETE")
        ]
        assert ("GET", "") in found
        return sorted(found)

    # --- bodies ---------------------------------------------------------------------------------------------------

    async def test_hostile_bodies_are_refused_and_change_nothing(self, world: World, rows: Rows) -> None:
        valid = self.speaker.body("fine")
        await self.ask_raw(world, json.dumps(valid).encode())  # so that what happens once has happened
        before = await rows.all()
        for hostile in bodies(valid):
            if hostile.name == EMPTY and self.speaker.may_be_silent:
                continue
            headers = {"content-type": hostile.content_type, **hostile.headers}
            answer = await self.ask_raw(world, hostile.content, headers)
            refusal = self.speaker.statuses.get(str(hostile.refusal), hostile.refusal)
            expected = {400, 422} if refusal == "any" else {refusal}
            assert answer.status_code in expected, f"{hostile.name}: {answer.status_code} {answer.text[:300]}"
            self.speaker.check_error(answer)
            assert await rows.all() == before, f"{hostile.name} was refused and changed rows"

    async def test_text_that_cannot_be_kept_is_refused_wherever_it_stands(
        self, world: World, rows: Rows
    ) -> None:
        await self.ask_raw(world, json.dumps(self.speaker.body("fine")).encode())
        before = await rows.all()
        for name, text in texts():
            content = json.dumps(self.speaker.body("PLACE")).encode().replace(b'"PLACE"', text)
            answer = await self.ask_raw(world, content)
            assert answer.status_code in (400, 422), f"{name}: {answer.status_code} {answer.text[:300]}"
            self.speaker.check_error(answer)
            assert await rows.all() == before, f"{name} was refused and changed rows"

    # --- asking -----------------------------------------------------------------------------------------------------

    async def get(
        self, world: World, chat_id: str, caller: Caller | None = None, **headers: str
    ) -> httpx.Response:
        """GET one chat."""
        return await self.ask(world, "GET", self.speaker.chat(chat_id), caller or world.owner, **headers)

    async def ask(
        self, world: World, method: str, path: str, caller: Caller, **headers: str
    ) -> httpx.Response:
        """One request as somebody."""
        return await self.ask_with(world, method, path, caller.key, **headers)

    async def ask_with(
        self, world: World, method: str, path: str, secret: str, **headers: str
    ) -> httpx.Response:
        """One request with a credential; the request's id is fixed, so that answers can be compared."""
        sent = {**self.speaker.credential(secret), "x-request-id": "contract", **headers}
        return await world.client.request(method, self.speaker.prefix + path, headers=sent)

    async def ask_raw(
        self, world: World, content: bytes, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """POST these bytes to where chats are made."""
        sent = {
            **self.speaker.credential(world.owner.key),
            "content-type": "application/json",
            **(headers or {}),
        }
        return await world.client.post(
            self.speaker.prefix + self.speaker.chats, content=content, headers=sent
        )


async def _dead_keys(world: World) -> dict[str, str]:
    revoked, disabled = await world.service("owner"), await world.service("owner")
    expired = await world.person("owner", expires_in_s=60)
    suspended = await world.organisation("Suspended")
    await world.revoke(revoked)
    await world.disable(disabled)
    await world.suspend(suspended)
    world.clock.advance(61)
    _, client_secret = await world.client_credentials("owner")
    return {
        "revoked": revoked.key,
        "disabled": disabled.key,
        "expired": expired.key,
        "suspended": suspended.key,
        "never issued": "ck_" + "A" * 46,
        "a client secret": "ck_" + client_secret.removeprefix("cks_"),
    }


def _subclasses(kind: type[ChatkeepError]) -> Iterator[type[ChatkeepError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _subclasses(each)


def _sample(kind: type[ChatkeepError]) -> ChatkeepError:
    if kind.__init__ is Exception.__init__:
        return kind("What happened, in a sentence.")
    needed = list(inspect.signature(kind).parameters)
    return kind(**{name: ARGUMENTS[name] for name in needed if name in ARGUMENTS})


def _as_sent(response: Any) -> httpx.Response:
    return httpx.Response(response.status_code, headers=dict(response.headers), content=bytes(response.body))
