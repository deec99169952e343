"""The only place where a driver, a model or a dialect meets the core: plain functions that put the parts together."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from chatkeep.config import Settings
from chatkeep.dialects import cuadra, lexicon, native, openwebui, synthflow
from chatkeep.domain.chat import Dialect
from chatkeep.domain.errors import ChatkeepError, StoreRefused, Unavailable
from chatkeep.domain.ids import Clock, Entropy
from chatkeep.domain.limits import Limits
from chatkeep.edge.app import Edge
from chatkeep.edge.drain import Drain
from chatkeep.models.local import LocalModel, weights_path
from chatkeep.models.port import Provider
from chatkeep.ports import SharedEntropy, SystemClock, SystemEntropy
from chatkeep.runtime.bell import LocalBell
from chatkeep.runtime.rates import Rates
from chatkeep.runtime.recovery import answer_summons, keep_alive, recover
from chatkeep.runtime.runner import Runner
from chatkeep.runtime.streams import Streams
from chatkeep.runtime.sweeper import sweep_for_ever
from chatkeep.runtime.tail import Tail
from chatkeep.runtime.titles import Titles
from chatkeep.runtime.turns import Turns
from chatkeep.services import journal, models, nodes, organisations
from chatkeep.services.context import Policy, System
from chatkeep.services.keyring import open_keyring
from chatkeep.store.driver import Store
from chatkeep.store.sqlite import open_sqlite
from chatkeep.web.dialect import Built
from chatkeep.web.house import House
from chatkeep.web.rendered import RenderedCache

log = structlog.get_logger(__name__)
DATABASE = "chatkeep.db"
SECRETS = "secrets"
LOCK = "server.lock"
RUNS_SHARE = 0.6
"""Of the drain's time: whoever waits for an answer still gets its end before connections are closed."""

BUILDERS: Mapping[Dialect, Callable[[House], Built]] = {
    "native": native.build,
    "cuadra": cuadra.build,
    "openwebui": openwebui.build,
    "lexicon": lexicon.build,
    "synthflow": synthflow.build,
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server ready to be run: the application and the drain that ends it."""

    house: House
    edge: Edge
    drain: Drain
    limits: Limits


def claim_data_folder(settings: Settings) -> None:
    """Be the one server of this SQLite file until the process ends. Raises `StoreRefused` when another one is.

    Commands may work on the folder at the same time; two servers would each declare the other's answers dead.
    """
    if settings.database_url is None:
        claim_folder(settings.data.expanduser())


def claim_folder(data: Path) -> int:
    """Let nobody serve the SQLite file in it until the descriptor is closed. Raises `StoreRefused` if somebody does."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreRefused(f"Another chatkeep serves {data} already.") from None
    return descriptor


def make_system(settings: Settings, *, clock: Clock | None = None, entropy: Entropy | None = None) -> System:
    """Open the data folder, its secrets and its database. Raises `StoreRefused`."""
    data = settings.data.expanduser()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    store, its_clock = open_store(settings)
    clock = clock or its_clock
    entropy = entropy or (SharedEntropy(clock) if store.is_shared else SystemEntropy())
    return System(
        store=store,
        clock=clock,
        entropy=entropy,
        limits=limits_of(settings),
        policy=Policy(
            is_sign_up_open=settings.sign_up_open,
            session_s=settings.session_s,
            access_token_s=settings.access_token_s,
            ephemeral_ttl_s=settings.ephemeral_ttl_s,
            issuer=settings.issuer,
            fold_after_s=settings.fold_after_s,
            purge_deleted_after_s=settings.purge_deleted_after_s,
            allowed_origins=frozenset(filter(None, map(str.strip, settings.allowed_origins.split(",")))),
        ),
        keyring=open_keyring(secrets_folder(settings), entropy),
        providers=make_providers(settings),
        node=entropy.uuid7(),
        node_name=settings.node_name or f"{socket.gethostname()}-{os.getpid()}",
        started_at=clock.now_us(),
    )


def secrets_folder(settings: Settings) -> Path:
    """Where the secrets are."""
    return (settings.secrets or settings.data / SECRETS).expanduser()


def open_store(settings: Settings) -> tuple[Store, Clock]:
    """The store that the settings name, up to date, and the clock that all who use it share. Raises `StoreRefused`."""
    if settings.database_url is None:
        return open_sqlite(settings.data.expanduser() / DATABASE), SystemClock()
    from chatkeep.store.postgres import open_postgres  # noqa: PLC0415 - of no use with SQLite, and slow to import

    store = open_postgres(settings.database_url.get_secret_value())
    return store, store.clock


def limits_of(settings: Settings) -> Limits:
    """The default limits with the operator's own."""
    return replace(
        Limits(),
        body_bytes_max=settings.body_bytes_max,
        runs_per_organisation_max=settings.runs_per_organisation_max,
        run_wall_s=settings.run_wall_s,
        lease_s=settings.lease_s,
        lease_renewal_s=settings.lease_s / 3,
        tokens_per_organisation_max=settings.tokens_per_organisation_max,
        tokens_window_s=settings.tokens_window_s,
        streams_per_principal_max=settings.streams_per_principal_max,
        streams_per_organisation_max=settings.streams_per_organisation_max,
        streams_max=settings.streams_max,
        lexicon_requests_per_minute=settings.lexicon_requests_per_minute,
        lexicon_sockets_max=settings.lexicon_sockets_max,
        lexicon_idle_s=settings.lexicon_idle_s,
        stream_age_s=settings.stream_age_s,
        header_deadline_s=settings.header_deadline_s,
        body_first_byte_s=settings.body_first_byte_s,
        body_total_s=settings.body_total_s,
        write_stall_s=settings.write_stall_s,
    )


def make_providers(settings: Settings) -> dict[str, Provider]:
    """The configured providers, and the offline model where it is installed."""
    providers: dict[str, Provider] = {}
    if settings.providers:
        from chatkeep.models.openai_compatible import OpenAiCompatible, Timeouts  # noqa: PLC0415 - a tenth of the start

        for name, each in settings.providers.items():
            providers[name] = OpenAiCompatible(
                name,
                each.base_url,
                api_key=None if each.api_key is None else each.api_key.get_secret_value(),
                timeouts=Timeouts(each.connect_s, each.first_token_s, each.silence_s),
            )
    if settings.local_model and weights_path() is not None:
        local = LocalModel(threads=settings.local_model_threads)
        providers.setdefault(local.name, local)
    return providers


def make_server(
    settings: Settings,
    system: System,
    *,
    requests_log: Callable[[bytes], object] | None = None,
    on_first: Callable[[organisations.NewOrganisation], object] | None = None,
) -> Server:
    """The whole server over an open system; `requests_log` takes one JSON line for each request, `on_first` the first
    organisation if this start made it.
    """
    house = make_house(settings, system)
    dialects = {name: build(house) for name, build in BUILDERS.items()}
    drain = Drain(settings.drain_s)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        first = await first_start(system)
        if first is not None and on_first is not None:
            on_first(first)
        async with running(house, settings):
            yield

    drain.on_begin(house.tail.close)
    drain.on_begin(lambda: house.runner.begin_drain(settings.drain_s * RUNS_SHARE))
    token = settings.metrics_token
    edge = Edge(
        house,
        dialects,
        drain=drain,
        lifespan=lifespan,
        requests_log=requests_log,
        metrics_token=None if token is None else token.get_secret_value(),
    )
    return Server(house, edge, drain, system.limits)


def make_house(settings: Settings, system: System) -> House:
    """Everything a request can reach, over an open system."""
    limits = system.limits
    look_s = min(1.0, limits.sse_heartbeat_s / 2, limits.stream_recheck_s / 2)
    bell = LocalBell(look_s, partial(journal.heads, system))
    system.store.listen(bell.ring)
    system.store.hear(bell.learn)
    return House(
        system=system,
        runner=Runner(
            system, wall_s=limits.run_wall_s, titles=Titles() if settings.titles == "model" else None
        ),
        tail=Tail(bell, limits),
        streams=Streams(system),
        rates=Rates(system),
        turns=Turns(bell, wait_s=limits.queue_wait_s),
        rendered=RenderedCache(settings.rendered_cache_bytes),
        trusted_proxies=settings.trusted_proxies,
    )


@asynccontextmanager
async def running(house: House, settings: Settings) -> AsyncIterator[None]:
    """What moves by itself, from start to a drained end."""
    system, runner = house.system, house.runner
    # The one server of its data folder (`claim_data_folder`): whoever held a run before is dead or has given it back.
    await recover(system, runner, resume=settings.resume_runs, is_alone=not system.store.is_shared)
    background = [
        asyncio.create_task(keep_alive(system, runner, house.streams), name="signs of life"),
        asyncio.create_task(
            sweep_for_ever(system, runner, interval_s=settings.sweep_interval_s, resume=settings.resume_runs),
            name="sweeper",
        ),
        asyncio.create_task(answer_summons(system, runner, resume=settings.resume_runs), name="summons"),
        asyncio.create_task(_find_models(system), name="model discovery"),
    ]
    try:
        yield
    finally:
        await runner.drain(0)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        with suppress(Unavailable):
            await nodes.leave(system)
        await close(system)


async def close(system: System) -> None:
    """Let go of providers and store."""
    for provider in system.providers.values():
        await provider.aclose()
    await system.store.close()


async def first_start(system: System) -> organisations.NewOrganisation | None:
    """Make the organisation and the owner's key if there are none. Raises `StoreRefused` for other nodes' secrets."""
    if system.store.is_shared:
        await nodes.agree_on_secrets(system)
    return await organisations.ensure_first(system)


async def _find_models(system: System) -> None:
    for provider in system.providers.values():
        try:
            added = await models.sync(system, provider)
        except ChatkeepError as error:
            log.warning("a provider does not list its models", provider=provider.name, reason=str(error))
        else:
            log.info("models found", provider=provider.name, added=added)
