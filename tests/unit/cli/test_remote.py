"""Server-sent events out of lines, and what becomes of a server that does not speak HTTP or JSON."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chatkeep.cli.remote import Refused, Remote, ServerEvent, Unreachable, read_events


def events(stream: bytes) -> list[ServerEvent]:
    return list(read_events(stream.splitlines(keepends=True)))


@contextmanager
def answering(answer: bytes) -> Iterator[Remote]:
    """A server on loopback that sends these bytes to one request, whatever it says, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Remote(f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: "nobody")
        finally:
            thread.join()


def test_names_data_and_comments_are_told_apart() -> None:
    stream = b': \n\nevent: run\ndata: {"a": 1}\n\n: \n\ndata: "plain"\n\nid: 7\nevent: done\ndata: null\n\n'
    assert events(stream) == [
        ServerEvent("run", {"a": 1}),
        ServerEvent("message", "plain"),
        ServerEvent("done", None, 7),
    ]


def test_an_id_is_of_its_own_event_only_and_a_number() -> None:
    stream = b"id: 7\ndata: 1\n\ndata: 2\n\nid: seven\ndata: 3\n\nid: 12345678901234567890\ndata: 4\n\n"
    assert [event.seq for event in events(stream)] == [7, None, None, None]


def test_data_of_several_lines_is_one_event_and_crlf_is_a_line_end() -> None:
    assert events(b'event:delta\r\ndata:{"text":\r\ndata: "x:y"}\r\n\r\n') == [
        ServerEvent("delta", {"text": "x:y"})
    ]


def test_an_event_that_broke_off_is_none() -> None:
    assert events(b"data: 1\n\nevent: done\ndata: {}\n") == [ServerEvent("message", 1)]


def test_a_name_without_data_is_forgotten() -> None:
    assert events(b"event: done\n\ndata: 1\n\n") == [ServerEvent("message", 1)]


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
def test_a_server_that_hangs_up_or_speaks_something_else_is_unreachable(answer: bytes) -> None:
    with answering(answer) as remote, pytest.raises(Unreachable):
        remote.call("GET", "/me")


def test_a_problem_is_told_with_its_code() -> None:
    body = b'{"type":"about:blank","detail":"No such thing.","code":"not_found"}'
    head = b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n" % len(body)
    with answering(head + body) as remote, pytest.raises(Refused, match=r"^No such thing\.$") as refused:
        remote.call("GET", "/me")
    assert refused.value.code == "not_found"


def test_an_error_of_some_other_server_is_told_as_such() -> None:
    answer = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>"
    with answering(answer) as remote, pytest.raises(Refused, match="502 Bad Gateway"):
        remote.call("GET", "/me")
