"""The server's own secrets: the pepper under API keys, the key of sessions, the key pair of access tokens.

They live in files of mode 0600 beside the database, made at first start. A stolen database without them logs nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from joserfc.jwk import OctKey, RSAKey

from chatkeep.domain.errors import StoreRefused
from chatkeep.domain.ids import Entropy

PEPPER_VERSION = 1


@dataclass(frozen=True, slots=True)
class Keyring:
    """All secrets of the server; printed as dots."""

    pepper: bytes = field(repr=False)
    session_key: OctKey = field(repr=False)
    signing_key: RSAKey = field(repr=False)
    _peppered: hmac.HMAC = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Begin the digest once: a copy of it takes half the time of a new one, and keeps the interpreter's lock."""
        object.__setattr__(self, "_peppered", hmac.new(self.pepper, digestmod=hashlib.sha256))

    def digest(self, secret: str) -> bytes:
        """What is stored instead of an API key or client secret: HMAC-SHA256 under the pepper, 32 bytes."""
        begun = self._peppered.copy()
        begun.update(secret.encode())
        return begun.digest()

    @property
    def fingerprint(self) -> str:
        """Tells whether two have the same secrets, and nothing of what they are."""
        own = hmac.new(self.pepper, b"fingerprint of the secrets", hashlib.sha256)
        own.update(self.session_key.get_op_key("sign"))
        own.update(self.key_id.encode())
        return own.hexdigest()

    @property
    def key_id(self) -> str:
        """The `kid` of the signing key: its RFC 7638 thumbprint."""
        return self.signing_key.thumbprint()


def open_keyring(folder: Path, entropy: Entropy) -> Keyring:
    """Read the secrets in `folder`, making what is missing. Raises `StoreRefused` when others may read a file."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    pepper = _secret(folder / "pepper", lambda: entropy.secret(64))
    session = _secret(folder / "session.key", lambda: entropy.secret(64))
    signing = _secret(folder / "signing.pem", lambda: RSAKey.generate_key(2048).as_pem(private=True).decode())
    return Keyring(pepper.encode(), OctKey.import_key(session), RSAKey.import_key(signing))


def _secret(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)  # Two processes may start at once: the first one's secret is everybody's.
        fresh.unlink()
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StoreRefused(f"{path} may be read by others; make it mode 0600.")
    return path.read_text()
