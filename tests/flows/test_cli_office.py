"""Keys, users, organisations and models from the command line: on the data folder, with and without a server on it."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatkeep import wiring
from chatkeep.config import Settings
from chatkeep.domain.errors import InvalidCredential
from chatkeep.domain.principal import Principal
from chatkeep.models.local import weights_path
from chatkeep.services import credentials
from tests.flows.command_line import PROGRAM, Done, Serving, environment, invoke, run, serving
from tests.flows.terminal import Terminal
from tests.upstream import ScriptedUpstream

Command = Callable[..., Done]
Refusal = Callable[..., str]
Row = dict[str, str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the organisation of the first start."""

    async def make() -> None:
        system = wiring.make_system(Settings(data=folder, local_model=False))
        await wiring.first_start(system)
        await wiring.close(system)

    folder = tmp_path / "data"
    asyncio.run(make())
    return folder


@pytest.fixture
def office(data: Path) -> Command:
    """A command on that folder which must succeed."""

    def command(*arguments: str, stdin: bytes = b"", **settings: str) -> Done:
        done = invoke(*arguments, "--data", str(data), stdin=stdin, **{"local_model": "false", **settings})
        assert done.code == 0, done.err
        return done

    return command


@pytest.fixture
def refused(data: Path) -> Refusal:
    """A command on that folder which must end with one line; the sentence."""

    def command(*arguments: str, stdin: bytes = b"") -> str:
        done = invoke(*arguments, "--data", str(data), stdin=stdin, local_model="false")
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        return done.err.strip()

    return command


def table(done: Done) -> list[Row]:
    head, *lines = [line.split("\t") for line in done.out.splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def who(data: Path, secret: str) -> Principal:
    """Whom a server on this folder takes the credential's bearer for."""

    async def ask() -> Principal:
        system = wiring.make_system(Settings(data=data, local_model=False))
        try:
            return await credentials.authenticate(system, secret)
        finally:
            await wiring.close(system)

    return asyncio.run(ask())


def test_a_key_is_the_owners_and_is_alone_on_standard_output(office: Command, data: Path) -> None:
    done = office("keys", "create", "--name", "laptop")
    principal = who(data, done.out.removesuffix("\n"))
    assert (principal.name, principal.role, "org:admin" in principal.scopes) == ("Owner", "owner", True)
    made = table(office("keys", "list"))[-1]
    assert (made["name"], made["kind"], made["holder"], made["state"]) == (
        "laptop",
        "api_key",
        "Owner",
        "valid",
    )
    assert (made["scopes"], made["expires"], done.out[:8]) == ("all", "-", made["begins"])
    assert made["id"] in done.err


def test_a_service_gets_a_key_with_its_role_scopes_and_end(office: Command, data: Path) -> None:
    options = ["--service", "backup", "--role", "admin", "--scope", "chat:read", "--scope", "models:read"]
    done = office("keys", "create", *options, "--expires-in-days", "2")
    principal = who(data, done.out.strip())
    assert (principal.kind, principal.role, principal.name) == ("service", "admin", "backup")
    assert principal.scopes == {"chat:read", "models:read"}
    made = table(office("keys", "list"))[-1]
    assert made["scopes"] == "chat:read models:read"
    life = datetime.fromisoformat(made["expires"]) - datetime.fromisoformat(made["created"])
    assert life == timedelta(days=2)


def test_a_service_of_the_same_name_is_not_made_twice(office: Command, refused: Refusal, data: Path) -> None:
    office("keys", "create", "--service", "backup")
    accounts = table(office("users", "list"))
    line = refused("keys", "create", "--service", "backup")
    assert line == (
        f"chatkeep: There is a service 'backup' already; --user {accounts[-1]['id']} gives it another key."
    )
    another = office("keys", "create", "--user", accounts[-1]["id"])
    assert who(data, another.out.strip()).role == "member"
    assert table(office("users", "list")) == accounts


def test_a_refused_key_leaves_no_service_behind(office: Command, refused: Refusal) -> None:
    before = table(office("users", "list"))
    refused("keys", "create", "--service", "backup", "--name", "x" * 201)
    assert table(office("users", "list")) == before


def test_client_credentials_are_id_and_secret(office: Command, data: Path) -> None:
    done = office("keys", "create", "--service", "robot", "--client")
    said = dict(line.split("=") for line in done.out.splitlines())
    assert said.keys() == {"client_id", "client_secret"}

    async def check() -> str:
        system = wiring.make_system(Settings(data=data, local_model=False))
        holder = await credentials.check_client(system, said["client_id"], said["client_secret"])
        await wiring.close(system)
        return holder.name

    assert asyncio.run(check()) == "robot"


def test_a_revoked_key_is_listed_as_such_and_lets_nobody_in(
    office: Command, refused: Refusal, data: Path
) -> None:
    key = office("keys", "create").out.strip()
    key_id = table(office("keys", "list"))[-1]["id"]
    office("keys", "revoke", key_id)
    assert table(office("keys", "list"))[-1]["state"] == "revoked"
    with pytest.raises(InvalidCredential):
        who(data, key)
    assert refused("keys", "revoke", key_id) == "chatkeep: Key not found."


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--user", "a", "--service", "b"], "--service"),
        (["--role", "admin"], "--role"),
        (["--service", "a", "--role", "king"], "--role"),
        (["--scope", "chat:fly"], "--scope"),
        (["--expires-in-days", "0"], "--expires-in-days"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(data: Path, options: list[str], named: str) -> None:
    done = invoke("keys", "create", *options, "--data", str(data))
    assert (done.code, done.out) == (2, "")
    assert named in done.err


def test_people_are_made_listed_shut_out_and_let_in(office: Command, data: Path) -> None:
    made = office(
        "users", "create", "Ann@Example.org", "--name", "Ann", "--password-stdin", stdin=b"correct horse\n"
    )
    user = table(office("users", "list"))[-1]
    assert user["id"] == made.out.strip()
    assert (user["name"], user["e-mail"], user["role"], user["state"]) == (
        "Ann",
        "ann@example.org",
        "member",
        "active",
    )
    key = office("keys", "create", "--user", "ANN@example.org").out.strip()
    assert who(data, key).name == "Ann"
    office("users", "disable", "Ann")
    assert table(office("users", "list"))[-1]["state"] == "disabled"
    with pytest.raises(InvalidCredential):
        who(data, key)
    office("users", "enable", user["id"])
    assert who(data, key).name == "Ann"


async def test_a_password_is_asked_for_on_a_terminal_and_not_shown(data: Path) -> None:
    terminal = Terminal("users", "create", "bob@example.org", "--role", "admin", data=str(data))
    seen = ""
    for _ in range(2):  # and again, to be sure
        seen += await terminal.see(": ")
        terminal.type("battery staple\n")
        seen += await terminal.see("\r\n")
    assert await terminal.end() == 0
    assert "battery" not in seen
    user = table(await run("users", "list", data=str(data)))[-1]
    assert (user["name"], user["role"]) == ("bob@example.org", "admin")


def test_without_a_terminal_the_password_must_come_from_standard_input(data: Path) -> None:
    done = invoke("users", "create", "x@example.org", "--data", str(data))
    assert (done.code, done.out) == (2, "")
    assert "--password-stdin" in done.err


@pytest.mark.parametrize(
    ("email", "password", "sentence"),
    [
        ("not an address", b"correct horse\n", "email: is not an e-mail address"),
        ("x@example.org", b"short\n", "password: must have at least 8 characters"),
        ("x@example.org", b"long enough \xff\n", "password: must not contain lone surrogates"),
    ],
)
def test_bad_people_are_one_line(refused: Refusal, email: str, password: bytes, sentence: str) -> None:
    line = refused("users", "create", email, "--password-stdin", stdin=password)
    assert line == f"chatkeep: {sentence}"


def test_an_address_is_taken_only_once(office: Command, refused: Refusal) -> None:
    office("users", "create", "x@example.org", "--password-stdin", stdin=b"correct horse\n")
    line = refused("users", "create", "x@example.org", "--password-stdin", stdin=b"correct horse\n")
    assert line == "chatkeep: An account with this e-mail address exists already."


def test_organisations_are_apart_and_chosen_by_id_or_name(
    office: Command, refused: Refusal, data: Path
) -> None:
    key = office("orgs", "create", "Branch").out.strip()
    first, branch = table(office("orgs", "list"))
    assert (first["name"], branch["name"], branch["state"]) == ("My organisation", "Branch", "active")
    assert who(data, key).organisation_id == branch["id"]
    office("keys", "create", "--org", "Branch", "--name", "by name")
    office("keys", "create", "--org", branch["id"], "--name", "by id")
    assert [row["name"] for row in table(office("keys", "list", "--org", "Branch"))] == [
        "first key",
        "by name",
        "by id",
    ]
    assert [row["name"] for row in table(office("keys", "list"))] == ["first key"]
    there = table(office("keys", "list", "--org", "Branch"))[0]["id"]
    assert refused("keys", "revoke", there) == "chatkeep: Key not found."
    assert refused("keys", "list", "--org", "Nowhere") == "chatkeep: Organisation not found."


def test_a_name_of_two_is_asked_about(office: Command, refused: Refusal) -> None:
    office("orgs", "create", "Twin")
    office("orgs", "create", "Twin")
    assert refused("users", "list", "--org", "Twin") == (
        "chatkeep: Organisation: 2 are called 'Twin'; say the id."
    )


def test_a_suspended_organisation_is_shut_out_until_it_is_resumed(office: Command, data: Path) -> None:
    key = office("orgs", "create", "Branch").out.strip()
    office("orgs", "suspend", "Branch")
    assert [row["state"] for row in table(office("orgs", "list"))] == ["active", "suspended"]
    with pytest.raises(InvalidCredential):
        who(data, key)
    office("orgs", "resume", "Branch")
    assert who(data, key).role == "owner"


def test_names_cannot_break_a_table(office: Command) -> None:
    office("orgs", "create", "a\tb\nc \x1b[31mred")
    assert table(office("orgs", "list"))[-1]["name"] == "a b c [31mred"


def test_a_terminal_gets_a_drawn_table(data: Path) -> None:
    near, far = pty.openpty()

    async def talk() -> int | None:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, "orgs", "list", "--data", str(data), stdout=far, env=environment()
        )
        return await process.wait()

    assert asyncio.run(talk()) == 0
    os.close(far)
    seen = os.read(near, 10_000).decode()
    os.close(near)
    assert "My organisation" in seen
    assert "───" in seen
    assert "\t" not in seen


async def test_models_are_asked_for_and_listed(data: Path, upstream: ScriptedUpstream) -> None:
    settings: dict[str, Any] = {
        "local_model": "false",
        "providers__scripted__base_url": upstream.base_url,
        "data": str(data),
    }
    synced = await run("models", "sync", **settings)
    assert (synced.code, synced.out) == (0, "scripted: 1 new\n")
    [model] = table(await run("models", "list", **settings))
    assert (model["name"], model["provider"], model["state"]) == ("scripted", "scripted", "active")
    again = await run("models", "sync", **settings)
    assert again.out == "scripted: 0 new\n"


async def test_a_provider_that_is_away_is_one_line_and_the_others_are_asked(
    data: Path, upstream: ScriptedUpstream
) -> None:
    done = await run(
        "models",
        "sync",
        data=str(data),
        local_model="false",
        providers__away__base_url="http://127.0.0.1:9/v1",
        providers__scripted__base_url=upstream.base_url,
    )
    assert (done.code, done.out, done.err.count("\n")) == (1, "scripted: 1 new\n", 1)
    assert done.err.startswith("chatkeep: away: ")


def test_without_a_provider_there_is_nobody_to_ask(refused: Refusal) -> None:
    assert "models fetch" in refused("models", "sync")


@pytest.mark.skipif(
    weights_path() is None, reason="the offline model is not installed (`chatkeep models fetch`)"
)
def test_fetch_tells_where_the_offline_model_is() -> None:
    done = invoke("models", "fetch")
    assert (done.code, done.out) == (0, f"{weights_path()}\n")


@pytest.mark.sqlite
def test_a_folder_without_a_database_is_one_line_and_stays_without(tmp_path: Path) -> None:
    done = invoke("keys", "list", data=str(tmp_path / "none"))
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert str(tmp_path / "none") in done.err
    assert not (tmp_path / "none").exists()


@pytest.mark.sqlite
def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / wiring.DATABASE).write_bytes(b"this is not a database at all, and long enough to tell" * 20)
    done = invoke("keys", "list", data=str(tmp_path))
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith("chatkeep: The database file cannot be used")


async def test_what_the_command_line_does_a_running_server_sees_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", local_model="false") as server:
        beside: dict[str, Any] = {"data": str(server.data), "local_model": "false"}
        key = (await run("keys", "create", "--service", "beside", **beside)).out.strip()
        assert (await server.native("GET", "/me", key)).json()["name"] == "beside"
        await run("users", "disable", "beside", **beside)
        assert await is_shut_out(server, key)
        await run("users", "enable", "beside", **beside)
        assert not await is_shut_out(server, key)
        made = table(await run("keys", "list", **beside))[-1]
        await run("keys", "revoke", made["id"], **beside)
        assert await is_shut_out(server, key)
        await run("orgs", "suspend", "My organisation", **beside)
        assert await is_shut_out(server, server.key)
        await run("orgs", "resume", "My organisation", **beside)
        assert not await is_shut_out(server, server.key)


async def is_shut_out(server: Serving, key: str) -> bool:
    return (await server.native("GET", "/me", key)).status_code == httpx.codes.UNAUTHORIZED
