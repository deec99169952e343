"""What the native API refuses whatever is asked of it: unknown ids, unknown routes, bodies that are none."""

from __future__ import annotations

import pytest

from tests.flows.office import Office

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"


async def test_an_unknown_chat_is_not_found_whatever_its_id_looks_like(office: Office) -> None:
    for chat_id in (UNKNOWN_ID, "chat_nope", "x" * 129, "%00", "%F0%9F%99%82", "a%20b"):
        for method, body in (("GET", None), ("PATCH", {"title": "x"}), ("DELETE", None)):
            problem = await office.refusal(404, method, f"/chats/{chat_id}", body=body)
            assert (problem["code"], problem["detail"]) == ("not_found", "Chat not found.")


async def test_what_http_itself_refuses_is_a_problem_too(office: Office) -> None:
    assert (await office.refusal(404, "GET", "/nothing"))["code"] == "not_found"
    assert (await office.refusal(404, "GET", ""))["code"] == "not_found"
    response = await office.ask("PUT", "/chats", body={})
    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
    assert set(response.headers["allow"].split(", ")) >= {"POST"}
    assert (await office.refusal(400, "POST", "/chats", body=b"{"))["code"] == "malformed_json"
    text = {"content-type": "text/plain"}
    assert (await office.refusal(415, "POST", "/chats", body=b"{}", headers=text))[
        "code"
    ] == "unsupported_media_type"
    assert (await office.refusal(413, "POST", "/chats", body=b" " * 1_048_577))["code"] == "body_too_large"
