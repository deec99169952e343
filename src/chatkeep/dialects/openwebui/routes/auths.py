"""Accounts and sessions: sign up, sign in, who am I, sign out."""

from __future__ import annotations

from fastapi import Request, Response

from chatkeep.dialects.openwebui import errors, sessions, wire
from chatkeep.dialects.openwebui.manner import COOKIE, Caller, token_of
from chatkeep.domain.errors import AlreadyExists, InvalidField
from chatkeep.domain.text import US
from chatkeep.services import credentials, people, tokens
from chatkeep.services.context import System
from chatkeep.services.people import Session, SignUp
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.client_address import client_address
from chatkeep.web.dialect import TheHouse, make_router

router = make_router()
AUTHS = "/api/v1/auths"


@router.post(f"{AUTHS}/signup", summary="Sign up", responses={200: {"model": wire.SessionOut}})
async def sign_up(body: wire.SignUpIn, house: TheHouse, request: Request) -> Response:
    """Make an account. The first person becomes administrator, and that closes sign-up unless the operator opens it."""
    wanted = SignUp(body.name, body.email, body.password, body.profile_image_url or "")
    try:
        session = await people.sign_up(house.system, wanted)
    except InvalidField as error:
        raise (errors.InvalidEmail() if error.field == "email" else error) from None
    except AlreadyExists:
        raise errors.EmailTaken(errors.EmailTaken.sentence) from None
    return await _opened(house.system, request, session)


@router.post(f"{AUTHS}/signin", summary="Sign in", responses={200: {"model": wire.SessionOut}})
async def sign_in(body: wire.SignInIn, house: TheHouse, request: Request) -> Response:
    """A new session for e-mail address and password."""
    address = client_address(request, house.trusted_proxies)
    session = await people.sign_in(house.system, body.email, body.password, address=address)
    return await _opened(house.system, request, session)


@router.get(f"{AUTHS}/", summary="Who is signed in", responses={200: {"model": wire.SessionInfoOut}})
@router.get(AUTHS, include_in_schema=False)
async def who(ctx: Caller, request: Request) -> Response:
    """The person behind a session token, and the token with its end. An API key is nobody's session."""
    token = token_of(request)
    claims = tokens.read_token(ctx.system, token) if ctx.principal.credential_kind == "session" else None
    if not isinstance(claims, tokens.SessionClaims):
        raise errors.HumanSessionRequired(errors.HumanSessionRequired.sentence)
    account = await people.get(ctx, ctx.principal.id)
    session = sessions.session(account, ctx.principal, token, claims.expires_at_s)
    out: wire.SessionInfoOut = {
        **session,
        "status_emoji": None,
        "status_message": None,
        "status_expires_at": None,
    }
    return _with_cookie(ctx.system, request, JsonAnswer(out), session)


@router.post(f"{AUTHS}/signout", summary="Sign out", responses={200: {"model": wire.SignedOut}})
async def sign_out(request: Request) -> Response:
    """Take the cookie back. As with the vendor, the token itself is good until it ends."""
    out: wire.SignedOut = {"status": True}
    response = JsonAnswer(out)
    response.delete_cookie(COOKIE, path="/", secure=_is_secure(request), httponly=True, samesite="lax")
    return response


async def _opened(system: System, request: Request, session: Session) -> Response:
    issued = session.issued
    caller = await credentials.authenticate(system, issued.token)
    out = sessions.session(session.account, caller, issued.token, issued.expires_at_s)
    return _with_cookie(system, request, JsonAnswer(out), out)


def _with_cookie(system: System, request: Request, response: Response, session: wire.SessionOut) -> Response:
    response.set_cookie(
        COOKIE,
        session["token"],
        max_age=session["expires_at"] - system.clock.now_us() // US,
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="lax",
    )
    response.headers["cache-control"] = "no-store"
    return response


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
