"""The manual's page of settings is the one the code writes, and `chatkeep config` tells the truth about each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatkeep.config import ProviderSettings, Settings
from tests.flows.command_line import Done, invoke

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def rows(done: Done) -> dict[str, tuple[str, str]]:
    """Setting -> (value, source)."""
    assert done.code == 0, done.err
    lines = [line.split("\t") for line in done.out.splitlines()[1:]]
    return {name: (value, source) for name, value, source, _ in lines}


def test_the_page_is_what_the_command_prints() -> None:
    printed = invoke("config", "--markdown", port="1234").out
    assert PAGE.read_text(encoding="utf-8") == printed, "chatkeep config --markdown > docs/settings.md"


def test_every_setting_has_its_line_and_its_meaning() -> None:
    told = re.findall(
        r"^\| `(CHATKEEP_\w+)` \| .* \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    fields = [f"CHATKEEP_{name.upper()}" for name in Settings.model_fields if name != "providers"]
    fields += [f"CHATKEEP_PROVIDERS__NAME__{name.upper()}" for name in ProviderSettings.model_fields]
    assert [name for name, _ in told] == fields


def test_bounds_are_told() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for line in (
        "| `CHATKEEP_PORT` | `8000` | 0 to 65535 |",
        "| `CHATKEEP_TRUSTED_PROXIES` |  |  |",
        "| `CHATKEEP_LOG_FORMAT` | `json` | json or console |",
        "| `CHATKEEP_SIGN_UP_OPEN` | `false` | true or false |",
        "| `CHATKEEP_ISSUER` | `chatkeep` | 1 to 200 characters |",
        "| `CHATKEEP_RENDERED_CACHE_BYTES` | `33554432` | at least 0 |",
        "| `CHATKEEP_SWEEP_INTERVAL_S` | `10` | 0.05 to 3600 |",
        "| `CHATKEEP_METRICS_TOKEN` |  | at least 16 characters |",
        "| `CHATKEEP_LOCAL_MODEL_THREADS` |  | 1 to 256 |",
        "| `CHATKEEP_PROVIDERS__NAME__BASE_URL` | required |",
    ):
        assert line in page


def test_value_and_source_are_those_in_effect() -> None:
    told = rows(invoke("config", "--port", "8001", port="9000", drain_s="2.5", data="/srv/kept"))
    assert told["CHATKEEP_PORT"] == ("8001", "option")
    assert told["CHATKEEP_DRAIN_S"] == ("2.5", "environment")
    assert told["CHATKEEP_DATA"] == ("/srv/kept", "environment")
    assert told["CHATKEEP_HOST"] == ("127.0.0.1", "default")
    assert told.keys() == {f"CHATKEEP_{name.upper()}" for name in Settings.model_fields}


def test_secrets_are_dots() -> None:
    done = invoke(
        "config",
        key="ck_hush",
        metrics_token="hush, hush, and hush",
        providers__near__base_url="http://me:hush@127.0.0.1:9/v1",
        providers__near__api_key="sk-hush",
    )
    told = rows(done)
    assert "hush" not in done.out + done.err
    assert told["CHATKEEP_KEY"] == ("••••••••", "environment")
    assert told["CHATKEEP_METRICS_TOKEN"] == ("••••••••", "environment")
    assert told["CHATKEEP_PROVIDERS__NEAR__API_KEY"] == ("••••••••", "environment")
    assert told["CHATKEEP_PROVIDERS__NEAR__BASE_URL"] == ("http://••••••••@127.0.0.1:9/v1", "environment")
    assert told["CHATKEEP_PROVIDERS__NEAR__SILENCE_S"] == ("60", "default")


def test_a_list_is_told_as_it_is_written() -> None:
    told = rows(invoke("config", trusted_proxies="10.0.0.0/8,::1 , 192.0.2.7"))
    assert told["CHATKEEP_TRUSTED_PROXIES"] == ("10.0.0.0/8, ::1/128, 192.0.2.7/32", "environment")


def test_a_name_that_is_no_setting_is_pointed_out() -> None:
    done = invoke("config", sesion_s="60", port="1")
    assert done.code == 0
    assert done.err == "CHATKEEP_SESION_S is in the environment, but there is no such setting.\n"


@pytest.mark.parametrize(
    ("options", "settings", "line"),
    [
        ([], {"port": "99999"}, "CHATKEEP_PORT: Input should be less than or equal to 65535"),
        ([], {"trusted_proxies": "::1, nobody"}, "CHATKEEP_TRUSTED_PROXIES: value is not a valid IPv4"),
        (["--port", "99999"], {}, "--port: Input should be less than or equal to 65535"),
        (
            [],
            {"providers__near__base_url": "ftp://x"},
            "CHATKEEP_PROVIDERS__NEAR__BASE_URL: String should match",
        ),
    ],
)
def test_a_value_outside_its_bounds_is_one_line(
    options: list[str], settings: dict[str, str], line: str
) -> None:
    done = invoke("config", *options, **settings)  # type: ignore[arg-type]  # settings are never called stdin
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(line)


def test_what_cannot_be_read_is_one_line() -> None:
    done = invoke("config", providers="{")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "providers" in done.err.lower()
