"""The default limits of the product, one place (design/trust.md 2.5). Settings may move each within bounds."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send. Sizes in bytes, times in seconds unless the name says otherwise."""

    header_bytes_max: int = 32 * KIB
    header_count_max: int = 100
    header_deadline_s: float = 10.0
    keep_alive_idle_s: float = 15.0
    write_stall_s: float = 30.0
    body_bytes_max: int = MIB
    body_with_files_bytes_max: int = 10 * MIB
    body_first_byte_s: float = 10.0
    body_rate_min_bytes_per_s: int = KIB
    body_total_s: float = 60.0
    json_depth_max: int = 64
    json_nodes_max: int = 20_000
    json_keys_max: int = 1_000
    json_string_bytes_max: int = 256 * KIB
    json_digits_max: int = 1_000
    message_bytes_max: int = 100_000
    tools_max: int = 128
    tools_bytes_max: int = 128 * KIB
    title_characters_max: int = 500
    system_prompt_bytes_max: int = 100_000
    metadata_bytes_max: int = 64 * KIB
    name_characters_max: int = 200
    tags_max: int = 50
    shared_with_max: int = 1_000
    documents_per_chat_max: int = 100
    page_size_max: int = 100
    websocket_frame_bytes_max: int = MIB
    websocket_messages_per_s: int = 20
    websocket_credential_s: float = 10.0
    idempotency_key_characters_max: int = 255
    idempotency_memory_s: int = 24 * 3600
    sse_heartbeat_s: float = 15.0
    runs_per_organisation_max: int = 10
    run_wall_s: float = 600.0
    lease_s: float = 30.0
    lease_renewal_s: float = 10.0
    tokens_per_organisation_max: int | None = None
    tokens_window_s: float = 3600.0
    streams_per_principal_max: int = 20
    streams_per_organisation_max: int = 200
    streams_max: int = 5_000
    lexicon_requests_per_minute: int = 100
    lexicon_messages_per_s: int = 10
    lexicon_sockets_max: int = 50
    lexicon_idle_s: float = 900.0
    stream_age_s: float = 900.0
    stream_recheck_s: float = 3.5  # and the bell looks every second: within 5 s in all
    queue_wait_s: float = 60.0
