"""Every way a request can fail, as one tree. No HTTP numbers here: each dialect owns a total table from `code`.

ChatkeepError
├── Invalid          MalformedJson InvalidField UnsupportedMediaType BodyTooLarge BodyTooSlow BadCursor
├── Unauthenticated  MissingCredential InvalidCredential (UnreadableToken) WrongPassword
├── Denied           MissingScope NotAllowed SignUpClosed
├── NotFound
├── Conflict         AlreadyExists VersionMismatch ChatBusy SessionEnded IdempotencyMismatch IdempotencyInFlight
├── Exhausted        RateLimited
└── Unavailable      ProviderFailed NoModel StoreBusy StoreFull StoreLost StoreRefused ShuttingDown

A foreign object and a missing object are the same `NotFound`. `str(error)` is a public sentence.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Kind = Literal["invalid", "unauthenticated", "denied", "not_found", "conflict", "exhausted", "unavailable"]


class ChatkeepError(Exception):
    """Base of the tree: a stable `code` for machines, a `kind` for tables, a sentence for people."""

    code: ClassVar[str] = "error"
    kind: ClassVar[Kind] = "invalid"


class Invalid(ChatkeepError):
    """The request cannot be understood or breaks a stated bound."""

    code = "invalid"
    kind = "invalid"


class MalformedJson(Invalid):
    """The body is not one strict JSON text (UTF-8, finite numbers, unique keys, bounded depth and size)."""

    code = "malformed_json"


class InvalidField(Invalid):
    """One field has a value outside its rules; `field` is its path as the client sent it, e.g. `messages.0.role`."""

    code = "invalid_field"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class UnsupportedMediaType(Invalid):
    """The body's content type or encoding is not one this route reads."""

    code = "unsupported_media_type"


class BodyTooLarge(Invalid):
    """The body is larger than the limit, in bytes."""

    code = "body_too_large"


class BodyTooSlow(Invalid):
    """The body did not arrive within its deadline or at the minimum rate."""

    code = "body_too_slow"


class BadCursor(Invalid):
    """The page cursor was not issued by this list."""

    code = "bad_cursor"


class Unauthenticated(ChatkeepError):
    """Nobody is known by what was sent."""

    code = "unauthenticated"
    kind = "unauthenticated"


class MissingCredential(Unauthenticated):
    """No credential was sent."""

    code = "missing_credential"

    def __init__(self) -> None:
        super().__init__("No credential was sent.")


class InvalidCredential(Unauthenticated):
    """The credential is wrong, expired or revoked; which of them is never told."""

    code = "invalid_credential"

    def __init__(self) -> None:
        super().__init__("Invalid or expired token.")


class UnreadableToken(InvalidCredential):
    """Not a token of this server, or one past its time. The same code and sentence: only Open WebUI tells it apart."""


class WrongPassword(Unauthenticated):
    """E-mail and password do not match an account; which of them is wrong is never told."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("The email or password is incorrect.")


class Denied(ChatkeepError):
    """The caller is known but may not do this."""

    code = "denied"
    kind = "denied"


class MissingScope(Denied):
    """The credential or the caller's role lacks the scope this verb needs."""

    code = "missing_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"Missing required scope: {scope}")
        self.scope = scope


class NotAllowed(Denied):
    """The caller may see the object but not do this to it."""

    code = "not_allowed"


class SignUpClosed(Denied):
    """Sign-up is closed: an owner must create the account or open sign-up."""

    code = "sign_up_closed"

    def __init__(self) -> None:
        super().__init__("Sign-up is closed on this server.")


class NotFound(ChatkeepError):
    """The object does not exist for this caller: unknown, deleted, expired or somebody else's, all the same."""

    code = "not_found"
    kind = "not_found"

    def __init__(self, noun: str = "Object") -> None:
        super().__init__(f"{noun} not found.")
        self.noun = noun


class Conflict(ChatkeepError):
    """The request is fine but the state of things is against it."""

    code = "conflict"
    kind = "conflict"


class AlreadyExists(Conflict):
    """An object with this id or name exists already."""

    code = "already_exists"


class VersionMismatch(Conflict):
    """The object has changed since the version the client names (If-Match)."""

    code = "version_mismatch"

    def __init__(self) -> None:
        super().__init__("The chat has changed since the version named in If-Match.")


class ChatBusy(Conflict):
    """An answer is being generated in this chat; wait until it ends."""

    code = "chat_busy"

    def __init__(self) -> None:
        super().__init__("An answer is being generated in this chat.")


class SessionEnded(Conflict):
    """The chat's session is completed or cancelled and takes no further messages."""

    code = "session_ended"


class ChatInUse(Conflict):
    """The chat has open connections, so it is not deleted."""

    code = "chat_in_use"

    def __init__(self) -> None:
        super().__init__("The chat has active WebSocket connections. Close them, then delete it.")


class IdempotencyMismatch(Conflict):
    """The Idempotency-Key was used before with a different request."""

    code = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used before with a different request.")


class IdempotencyInFlight(Conflict):
    """The first request with this Idempotency-Key has not been answered yet."""

    code = "idempotency_in_flight"

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still being answered.")


class LeaseLost(Conflict):
    """The run is over or in other hands: what was generated for it counts no more. Clients never see it."""

    code = "lease_lost"

    def __init__(self) -> None:
        super().__init__("This run is over, or another process works on it.")


class Exhausted(ChatkeepError):
    """A limit of rate or amount is reached."""

    code = "exhausted"
    kind = "exhausted"


class RateLimited(Exhausted):
    """Too many attempts; `retry_after_s` seconds from now they are taken again."""

    code = "rate_limited"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many attempts. Try again in {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


class Unavailable(ChatkeepError):
    """Not the client's fault; the same request may succeed later."""

    code = "unavailable"
    kind = "unavailable"


class ProviderFailed(Unavailable):
    """The model's provider could not be reached, refused, or broke off; the sentence never holds a secret."""

    code = "provider_failed"


class NoModel(Unavailable):
    """No model is configured, so nothing can answer."""

    code = "no_model"

    def __init__(self) -> None:
        super().__init__(
            "No model is available. Get one with `chatkeep models fetch`, or configure a provider."
        )


class StoreBusy(Unavailable):
    """The store is under more load than it takes; nothing was written."""

    code = "store_busy"


class StoreFull(Unavailable):
    """The disk or the store's quota is full; nothing was written."""

    code = "storage_full"


class StoreLost(Unavailable):
    """The store failed while writing; the outcome of unacknowledged writes is unknown until restart."""

    code = "store_lost"


class StoreRefused(Unavailable):
    """The store will not open: network file system, newer schema, or damaged file."""

    code = "store_refused"


class ShuttingDown(Unavailable):
    """The server is draining and takes no new work."""

    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("The server is shutting down; try again shortly.")
