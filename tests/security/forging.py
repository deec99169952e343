"""Tokens as an attacker makes them: any header, any payload, any signature, assembled by hand (RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc.jwk import RSAKey

from chatkeep.services.tokens import ACCESS_TYPE, AUDIENCE, SESSION_TYPE
from tests.world import Caller, World

Claims = dict[str, Any]
Sign = Callable[[bytes], bytes]
HOUR_S = 3600


@dataclass(frozen=True)
class Forger:
    """Somebody who knows how good tokens look, and tries."""

    session: Claims
    access: Claims
    server_hmac: Sign
    server_rsa: Sign
    stranger_hmac: Sign
    stranger_rsa: Sign
    stranger_key: RSAKey
    public_pem: bytes
    public_der: bytes
    key_id: str

    def good_session(self, claims: Mapping[str, Any] | None = None, **header: Any) -> str:
        """A session token with the server's own signature, and what the caller wants changed."""
        return token(
            {"alg": "HS256", "typ": SESSION_TYPE, **header},
            {**self.session, **(claims or {})},
            self.server_hmac,
        )

    def good_access(self, claims: Mapping[str, Any] | None = None, **header: Any) -> str:
        """An access token with the server's own signature, and what the caller wants changed."""
        whole = {"alg": "RS256", "typ": ACCESS_TYPE, "kid": self.key_id, **header}
        return token(whole, {**self.access, **(claims or {})}, self.server_rsa)

    def without(self, name: str) -> dict[str, str]:
        """Both kinds with the server's signature and one claim missing."""
        session = {key: value for key, value in self.session.items() if key != name}
        access = {key: value for key, value in self.access.items() if key != name}
        return {
            f"session without {name}": token(
                {"alg": "HS256", "typ": SESSION_TYPE}, session, self.server_hmac
            ),
            f"access without {name}": token({"alg": "RS256", "typ": ACCESS_TYPE}, access, self.server_rsa),
        }

    def with_claim(self, name: str, value: Any) -> dict[str, str]:
        """Both kinds with the server's signature and one claim of the attacker's."""
        shown = repr(value)[:30]
        return {
            f"session with {name} {shown}": self.good_session({name: value}),
            f"access with {name} {shown}": self.good_access({name: value}),
        }


def token(header: Mapping[str, Any], claims: Mapping[str, Any] | bytes, sign: Sign) -> str:
    """One compact token."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    signed = f"{_text(json.dumps(header).encode())}.{_text(payload)}"
    return f"{signed}.{_text(sign(signed.encode()))}"


def nothing(_: bytes) -> bytes:
    """No signature."""
    return b""


def hmac_with(key: bytes) -> Sign:
    """HS256 with any key."""
    return lambda signed: hmac.digest(key, signed, hashlib.sha256)


def forger(world: World, person: Caller, stamp: str, client_id: str) -> Forger:
    """A forger who knows everything of a person and a client but the keys; `server_*` are for claims that lie."""
    keyring = world.system.keyring
    now_s = world.clock.now_us() // 1_000_000
    common = {"iss": world.system.policy.issuer, "aud": AUDIENCE, "org": person.organisation_id, "jti": "a"}
    times = {"iat": now_s, "exp": now_s + HOUR_S}
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    server: Any = keyring.signing_key.private_key
    return Forger(
        session={**common, **times, "sub": person.principal_id, "id": person.principal_id, "stamp": stamp},
        access={**common, **times, "sub": client_id, "scope": "chat:read"},
        server_hmac=hmac_with(keyring.session_key.raw_value),
        server_rsa=_rsa_with(server),
        stranger_hmac=hmac_with(b"a stranger's secret of sufficient length, 48 bytes"),
        stranger_rsa=_rsa_with(stranger),
        stranger_key=RSAKey.import_key(stranger),
        public_pem=keyring.signing_key.as_pem(private=False),
        public_der=keyring.signing_key.as_der(private=False),
        key_id=keyring.key_id,
    )


def forgeries(forged: Forger) -> dict[str, str]:
    """Tokens that no server may take, by what is wrong with them."""
    cases = {
        **_without_good_signature(forged),
        **_confused(forged),
        **_pointing_elsewhere(forged),
        **_lying(forged),
        **_misshapen(forged),
    }
    assert len(cases) >= 40
    return cases


def _without_good_signature(forged: Forger) -> dict[str, str]:
    session = {"typ": SESSION_TYPE}
    access = {"typ": ACCESS_TYPE, "kid": forged.key_id}
    cases = {
        f"alg {alg}, {kind}": token({"alg": alg, **header}, claims, sign)
        for alg in ("none", "None", "nOnE", "NONE", "")
        for kind, header, claims in (("session", session, forged.session), ("access", access, forged.access))
        for sign in (nothing,)
    }
    head, body, signature = forged.good_session().split(".")
    changed = _text(json.dumps({**forged.session, "sub": "somebody-else"}).encode())
    return cases | {
        "no algorithm named": token(session, forged.session, nothing),
        "empty signature": f"{head}.{body}.",
        "payload changed": f"{head}.{changed}.{signature}",
        "signature cut": f"{head}.{body}.{signature[:-4]}",
        "signature of another token": f"{head}.{body}.{forged.good_session({'jti': 'b'}).split('.')[2]}",
        "stranger's HMAC": token({"alg": "HS256", **session}, forged.session, forged.stranger_hmac),
        "empty HMAC key": token({"alg": "HS256", **session}, forged.session, hmac_with(b"")),
        "stranger's RSA": token({"alg": "RS256", **access}, forged.access, forged.stranger_rsa),
        "other organisation, stranger's key": token(
            {"alg": "HS256", **session}, {**forged.session, "org": "0190-other"}, forged.stranger_hmac
        ),
    }


def _confused(forged: Forger) -> dict[str, str]:
    public = {"PEM": forged.public_pem, "PEM stripped": forged.public_pem.strip(), "DER": forged.public_der}
    cases = {
        f"HS256 with the public key as {name}, {kind}": token(
            {"alg": "HS256", "typ": kind}, claims, hmac_with(key)
        )
        for name, key in public.items()
        for kind, claims in ((ACCESS_TYPE, forged.access), (SESSION_TYPE, forged.session))
    }
    return cases | {
        "session signed as access": token(
            {"alg": "RS256", "typ": SESSION_TYPE}, forged.session, forged.server_rsa
        ),
        "access signed as session": token(
            {"alg": "HS256", "typ": ACCESS_TYPE}, forged.access, forged.server_hmac
        ),
        "access's claims as session": token(
            {"alg": "HS256", "typ": SESSION_TYPE}, forged.access, forged.server_hmac
        ),
        "HS512 header": token({"alg": "HS512", "typ": SESSION_TYPE}, forged.session, forged.server_hmac),
        "PS256 header": token({"alg": "PS256", "typ": ACCESS_TYPE}, forged.access, forged.server_rsa),
        "typ JWT": forged.good_session(typ="JWT"),
        "typ missing": token({"alg": "HS256"}, forged.session, forged.server_hmac),
        "typ in other case": forged.good_access(typ="AT+JWT"),
        "typ id token": forged.good_access(typ="id+jwt"),
        "typ a list": forged.good_session(typ=[SESSION_TYPE]),
    }


def _pointing_elsewhere(forged: Forger) -> dict[str, str]:
    own_key = forged.stranger_key.as_dict(private=False)
    headers: dict[str, dict[str, Any]] = {
        "jwk": {"jwk": own_key},
        "jku": {"jku": "http://127.0.0.1:9/jwks.json"},
        "x5u": {"x5u": "http://127.0.0.1:9/cert.pem"},
        "x5c": {"x5c": ["MIIB"]},
        "crit": {"crit": ["exp"]},
        "crit unknown": {"crit": ["b64"], "b64": False},
        "kid path": {"kid": "../../../../dev/null"},
        "kid SQL": {"kid": "' UNION SELECT 'x' --"},
        "kid URL": {"kid": "http://127.0.0.1:9/key"},
        "zip": {"zip": "DEF"},
    }
    cases = {
        f"stranger's {name}": token(
            {"alg": "RS256", "typ": ACCESS_TYPE, **header}, forged.access, forged.stranger_rsa
        )
        for name, header in headers.items()
    }
    for name in (
        "jwk",
        "jku",
        "x5u",
        "x5c",
        "crit",
        "crit unknown",
    ):  # RFC 8725 3.10: not even from ourselves
        cases[f"our own {name}, access"] = forged.good_access(**headers[name])
        cases[f"our own {name}, session"] = forged.good_session(**headers[name])
    return cases


def _lying(forged: Forger) -> dict[str, str]:
    now_s = forged.session["iat"]
    claims: dict[str, list[Any]] = {
        "exp": [
            str(now_s + HOUR_S),
            now_s,
            now_s - 1,
            0,
            -1,
            None,
            True,
            float(now_s + HOUR_S),
            [now_s + HOUR_S],
        ],
        "iat": [now_s + 10 * HOUR_S, str(now_s), None, 2**62],
        "nbf": [now_s + 10 * HOUR_S, 2**62],
        "aud": ["", "somebody", [AUDIENCE], [AUDIENCE, "somebody"], None, {"a": AUDIENCE}],
        "iss": ["", "https://evil.example", None, ["chatkeep"]],
        "sub": [None, 1, {"id": "x"}],
        "org": [None, 7, ["x"]],
    }
    cases: dict[str, str] = {}
    for name, values in claims.items():
        for value in values:
            cases |= forged.with_claim(name, value)
    for name in ("exp", "iat", "aud", "iss", "sub", "org"):
        cases |= forged.without(name)
    return cases | {"session without stamp": forged.good_session({"stamp": None})}


def _misshapen(forged: Forger) -> dict[str, str]:
    good = forged.good_session()
    head, body, signature = good.split(".")
    deep = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    return {
        "100 kB": forged.good_session({"padding": "x" * 100_000}),
        "one part": head,
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.{signature}",
        "five parts": f"{head}..{body}.{signature}.{signature}",
        "only dots": "..",
        "many dots": "." * 3_000,
        "not base64": "!!!.???.###",
        "header no JSON": f"{_text(b'nonsense')}.{body}.{signature}",
        "header a list": f"{_text(b'[]')}.{body}.{signature}",
        "payload a list": token({"alg": "HS256", "typ": SESSION_TYPE}, b"[]", forged.server_hmac),
        "payload no JSON": token({"alg": "HS256", "typ": SESSION_TYPE}, b"nonsense", forged.server_hmac),
        "payload no UTF-8": token(
            {"alg": "HS256", "typ": SESSION_TYPE}, b'{"sub": "\xff"}', forged.server_hmac
        ),
        "payload deep": token({"alg": "HS256", "typ": SESSION_TYPE}, deep[:2_000], forged.server_hmac),
        "padding in it": f"{head}==.{body}==.{signature}==",
        "bytes beyond ASCII": f"{head}.{body}.ÿ{signature}",
    }


def _rsa_with(key: Any) -> Sign:
    return lambda signed: bytes(key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
