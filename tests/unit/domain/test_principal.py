"""Roles and scopes: a credential never does more than its holder's role, and never more than it was made for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.errors import InvalidField, MissingScope
from chatkeep.domain.ids import OrganisationId, PrincipalId
from chatkeep.domain.principal import (
    ROLE_SCOPES,
    ROLES,
    SCOPES,
    CredentialKind,
    Principal,
    Role,
    check_scopes,
    effective_scopes,
)

roles = st.sampled_from(ROLES)
granted = st.lists(st.sampled_from(SCOPES), unique=True).map(tuple)


def caller(role: Role, scopes: frozenset[str], kind: CredentialKind = "api_key") -> Principal:
    return Principal(OrganisationId("o"), PrincipalId("p"), "person", role, "Ann", scopes, kind)


@given(roles, granted)
def test_a_credential_does_what_both_role_and_grant_allow(role: Role, scopes: tuple[str, ...]) -> None:
    effective = effective_scopes(role, scopes)
    assert effective <= ROLE_SCOPES[role]
    if scopes:
        assert effective == {scope for scope in scopes if scope in ROLE_SCOPES[role]}
    else:
        assert effective == ROLE_SCOPES[role]


def test_each_role_does_at_least_what_the_lesser_one_does() -> None:
    assert ROLE_SCOPES["read-only"] < ROLE_SCOPES["member"] < ROLE_SCOPES["admin"] == ROLE_SCOPES["owner"]
    assert ROLE_SCOPES["owner"] == set(SCOPES)
    assert set(ROLE_SCOPES) == set(ROLES)
    assert not {scope for scope in ROLE_SCOPES["read-only"] if not scope.endswith(":read")}
    assert "models:write" not in ROLE_SCOPES["member"]
    assert "org:admin" not in ROLE_SCOPES["member"]


@given(roles, granted, st.sampled_from(SCOPES))
def test_require_refuses_what_is_not_granted_and_names_it(
    role: Role, scopes: tuple[str, ...], wanted: str
) -> None:
    principal = caller(role, effective_scopes(role, scopes))
    if wanted in principal.scopes:
        principal.require(wanted)
        return
    with pytest.raises(MissingScope, match=f"^Missing required scope: {wanted}$") as refused:
        principal.require(wanted)
    assert (refused.value.scope, refused.value.kind) == (wanted, "denied")


@pytest.mark.parametrize(
    ("role", "is_administrator"), [("owner", True), ("admin", True), ("member", False), ("read-only", False)]
)
def test_owners_and_admins_administer(role: Role, is_administrator: bool) -> None:
    assert caller(role, frozenset()).is_administrator is is_administrator


def test_only_client_credentials_mark_chats_as_machine_made() -> None:
    assert caller("member", frozenset(), "client").origin == "m2m"
    assert caller("member", frozenset(), "api_key").origin == "api"
    assert caller("member", frozenset(), "session").origin == "api"


@given(granted)
def test_known_scopes_pass_as_they_are(scopes: tuple[str, ...]) -> None:
    assert check_scopes(scopes) == scopes


@given(granted, st.text().filter(lambda text: text not in SCOPES))
def test_an_unknown_scope_is_refused_by_name(scopes: tuple[str, ...], unknown: str) -> None:
    with pytest.raises(InvalidField) as refused:
        check_scopes((*scopes, unknown))
    assert refused.value.field == "scopes"
    assert repr(unknown) in str(refused.value)
    assert all(scope in str(refused.value) for scope in SCOPES)
