"""All settings, read from the environment (`CHATKEEP_…`) and nowhere else; for wiring and the command line alone."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, IPvAnyNetwork, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _listed(value: object) -> object:
    return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value


class ProviderSettings(BaseModel, extra="forbid"):
    """One OpenAI-compatible provider."""

    base_url: str = Field(description="Base URL up to and including `/v1`.", pattern=r"^https?://")
    api_key: SecretStr | None = Field(None, description="Sent as bearer token; never logged.")
    connect_s: float = Field(10, ge=0.1, le=120, description="Longest wait for a connection, seconds.")
    first_token_s: float = Field(
        120, ge=0.1, le=1800, description="Longest wait for the first token, seconds."
    )
    silence_s: float = Field(60, ge=0.1, le=1800, description="Longest silence between tokens, seconds.")


class Settings(BaseSettings):
    """Every setting of the server; `chatkeep serve`'s options go before the environment."""

    model_config = SettingsConfigDict(env_prefix="CHATKEEP_", env_nested_delimiter="__", extra="forbid")

    data: Path = Field(Path("data"), description="Folder of the database and the secrets.")
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL database, `postgresql://user:password@host/name`, in place of the SQLite file "
        "`chatkeep.db` in the data folder.",
    )
    secrets: Path | None = Field(
        None,
        description="Folder of the secrets, the same for all nodes of a database; `secrets` in the data folder if "
        "unset.",
    )
    node_name: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="What `/ready` and `chatkeep nodes` call this server; host name and process id if unset.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_listed)] = Field(
        (),
        description="Addresses or networks (CIDR), with commas between, whose `X-Forwarded-For` is believed.",
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Least level that is logged."
    )
    log_format: str = Field(
        "json", pattern="^(json|console)$", description="One JSON object a line, or for people."
    )
    log_requests: bool = Field(True, description="One line for each request.")
    sign_up_open: bool = Field(
        False, description="Whether others than the first person may sign up by e-mail."
    )
    session_s: int = Field(
        28 * 24 * 3600, ge=60, le=90 * 24 * 3600, description="Life of a session token, seconds."
    )
    access_token_s: int = Field(3600, ge=60, le=24 * 3600, description="Life of an access token, seconds.")
    ephemeral_ttl_s: int = Field(
        24 * 3600, ge=1, le=30 * 24 * 3600, description="Life of an ephemeral chat, seconds."
    )
    sweep_interval_s: float = Field(
        10, ge=0.05, le=3600, description="How often what has expired is deleted, seconds."
    )
    issuer: str = Field(
        "chatkeep", min_length=1, max_length=200, description="Issuer in chatkeep's own tokens."
    )
    body_bytes_max: int = Field(1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest body, bytes.")
    runs_per_organisation_max: int = Field(
        10, ge=1, le=1000, description="Answers generated at once for a tenant."
    )
    run_wall_s: float = Field(600, ge=1, le=7200, description="Longest time one answer may take, seconds.")
    allowed_origins: str = Field(
        "",
        description="Origins of web pages that may call the APIs and open WebSockets, with commas between: "
        "https://chat.example.com.",
    )
    lease_s: float = Field(
        30, ge=1, le=600, description="How long a run is held without a sign of life of its server, seconds."
    )
    resume_runs: Literal["handed-over", "always", "never"] = Field(
        "handed-over",
        description="Runs that are gone on with after a restart, by a new model call that continues the text: those "
        "handed over at shutdown, also those of a server that died, or none.",
    )
    titles: Literal["first-message", "model"] = Field(
        "first-message",
        description="Where the title of a chat comes from that was given none: `first-message`, or `model`: after the "
        "first answer the chat's model is also asked for one, in a call of its own.",
    )
    tokens_per_organisation_max: int | None = Field(
        None, ge=1, description="Tokens a tenant may use in one window; unlimited if unset."
    )
    tokens_window_s: float = Field(
        3600, ge=1, le=31 * 24 * 3600, description="Length of that window, seconds."
    )
    streams_per_principal_max: int = Field(20, ge=1, description="Open event streams of one person or key.")
    streams_per_organisation_max: int = Field(200, ge=1, description="Open event streams of one tenant.")
    streams_max: int = Field(5000, ge=1, description="Open event streams of the server.")
    lexicon_requests_per_minute: int = Field(
        100, ge=0, description="Requests of one tenant to the Lexicon API in a minute; 0 for no limit."
    )
    lexicon_sockets_max: int = Field(
        50, ge=1, description="Open WebSockets of one tenant in the Lexicon API."
    )
    lexicon_idle_s: float = Field(
        900,
        ge=1,
        le=24 * 3600,
        description="A WebSocket of the Lexicon API where nobody says anything for so long is closed, seconds.",
    )
    stream_age_s: float = Field(
        900,
        ge=1,
        le=24 * 3600,
        description="After so long a stream is closed politely, to come back, seconds.",
    )
    fold_after_s: float = Field(
        3600,
        ge=0,
        le=365 * 24 * 3600,
        description="How long the pieces of a finished answer are kept beside its text, seconds.",
    )
    purge_deleted_after_s: float | None = Field(
        None,
        ge=0,
        description="Soft-deleted chats are deleted for good after so many seconds; never if unset.",
    )
    drain_s: float = Field(
        10, ge=0, le=600, description="Time that work under way gets at shutdown, seconds."
    )
    header_deadline_s: float = Field(
        10, ge=0.05, le=600, description="Time a request's header may take, seconds."
    )
    body_first_byte_s: float = Field(
        10, ge=0.05, le=600, description="Wait for a body's first byte, seconds."
    )
    body_total_s: float = Field(60, ge=0.05, le=3600, description="Time a whole body may take, seconds.")
    write_stall_s: float = Field(
        30, ge=0.05, le=3600, description="How long a client may stop reading, seconds."
    )
    rendered_cache_bytes: int = Field(32 * 1024 * 1024, ge=0, description="Memory for rendered chats, bytes.")
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token that `/metrics` asks for; without it they are open to everybody.",
    )
    local_model: bool = Field(True, description="Offer the offline model when it is installed.")
    local_model_threads: int | None = Field(
        None, ge=1, le=256, description="Its threads; all cores but one if unset."
    )
    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict,
        description="OpenAI-compatible providers by name: CHATKEEP_PROVIDERS__NAME__BASE_URL and so on.",
        validation_alias=AliasChoices("providers", "CHATKEEP_PROVIDERS"),
    )
    key: SecretStr | None = Field(
        None, description="API key that `chatkeep chat` sends; the server itself needs none."
    )


def environment() -> MutableMapping[str, str]:
    """The process's environment, for the command that tells which of its names are no settings."""
    return os.environ
