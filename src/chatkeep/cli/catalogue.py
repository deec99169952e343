"""All settings as rows, made from `config.Settings` itself: for `chatkeep config` and the manual."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from chatkeep.config import ProviderSettings, Settings

PREFIX = "CHATKEEP_"
PROVIDERS = "providers"
DOTS = "••••••••"
_CHOICE = re.compile(r"\^\((\w+(?:\|\w+)+)\)\$\Z")

_HEAD = """\
# Settings

This page is written by `chatkeep config --markdown > docs/settings.md`; a test compares the two.

Settings come from the environment. `chatkeep serve` has options for the data folder, host and port, which go before it.
`chatkeep config` tells what is in effect, and where each value comes from. A value outside its bounds stops the start
with one line. Times are in seconds (`_S`), sizes in bytes (`BYTES`).

| variable | default | bounds | meaning |
|---|---|---|---|
"""
_PROVIDERS_HEAD = """
## Providers

Any number of OpenAI-compatible providers, each under a name of your own in place of `NAME`. Only the address is needed.

| variable | default | bounds | meaning |
|---|---|---|---|
"""


def effective(settings: Settings, said: Set[str]) -> Iterator[tuple[str, str, str, str]]:
    """(name, value, source, meaning) of each setting; `said` are the names that options gave."""
    for name, field in Settings.model_fields.items():
        if name != PROVIDERS:
            yield _effective(PREFIX, name, field, settings, said)
        elif not settings.providers:
            yield _variable(PREFIX, name), "", "default", field.description or ""
    for provider, its in settings.providers.items():
        prefix = f"{PREFIX}PROVIDERS__{provider.upper()}__"
        for name, field in ProviderSettings.model_fields.items():
            yield _effective(prefix, name, field, its, set())


def strangers(environment: Iterable[str]) -> list[str]:
    """The variables that begin like settings and are none; the server passes over them."""
    known = {_variable(PREFIX, name) for name in Settings.model_fields}
    ours = (name for name in environment if name.upper().startswith(PREFIX))
    in_providers = f"{_variable(PREFIX, PROVIDERS)}__"
    return sorted(n for n in ours if n.upper() not in known and not n.upper().startswith(in_providers))


def manual() -> str:
    """The page docs/settings.md."""
    return (
        _HEAD
        + "".join(_rows(PREFIX, Settings, without={PROVIDERS}))
        + _PROVIDERS_HEAD
        + "".join(_rows(f"{PREFIX}PROVIDERS__NAME__", ProviderSettings, without=set()))
    )


def _rows(prefix: str, model: type[BaseModel], *, without: Set[str]) -> Iterator[str]:
    rules = model.model_json_schema(by_alias=False)["properties"]
    for name, field in model.model_fields.items():
        if name in without:
            continue
        value = "" if field.is_required() else _value(field.get_default(call_default_factory=True))
        default = "required" if field.is_required() else value and f"`{value}`"
        cells = (f"`{_variable(prefix, name)}`", default, _bounds(rules[name]), field.description or "")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _effective(
    prefix: str, name: str, field: FieldInfo, holder: BaseModel, said: Set[str]
) -> tuple[str, str, str, str]:
    source = "option" if name in said else "environment" if name in holder.model_fields_set else "default"
    return _variable(prefix, name), _value(getattr(holder, name)), source, field.description or ""


def _variable(prefix: str, name: str) -> str:
    return prefix + name.upper()


def _value(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case SecretStr():
            return DOTS if value.get_secret_value() else ""
        case float():
            return f"{value:.15g}"
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return _without_password(str(value))


def _without_password(text: str) -> str:
    try:
        place = urlsplit(text)
    except ValueError:
        return DOTS
    if "@" not in place.netloc:
        return text
    return urlunsplit(place._replace(netloc=f"{DOTS}@{place.netloc.rpartition('@')[2]}"))


def _bounds(rules: dict[str, Any]) -> str:
    """What JSON Schema says about the values, in words."""
    rules = {**rules, **rules.get("anyOf", [{}])[0]}
    if choice := _CHOICE.match(rules.get("pattern", "")):
        *others, last = choice[1].split("|")
        return f"{', '.join(others)} or {last}"
    if "pattern" in rules:
        return f"matches `{rules['pattern']}`"
    if rules.get("type") == "boolean":
        return "true or false"
    for least, most, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if least in rules and most in rules:
            return f"{_value(rules[least])} to {_value(rules[most])}{unit}"
        if least in rules:
            return f"at least {_value(rules[least])}{unit}"
    return ""
