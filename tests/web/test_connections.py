"""Connections to a real server: slow and endless ones are closed, ordinary ones are answered."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request

from app.web import connections
from app.web.connections import BoundedHttp
from app.web.streams import Stream
from tests.waiting import until

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def port(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with little patience."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.5)
    monkeypatch.setattr("app.api.request_body.BODY_SECONDS", 0.5)
    config = uvicorn.Config(app, port=0, http=BoundedHttp, ws="none", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(timeout=20)


class Connection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: Any) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> bytes:
        """What comes until the server has no more or closes."""
        return self._socket.recv(65536)


def test_an_ordinary_connection_is_answered_again_and_again(port: int) -> None:
    with Connection(port) as connection:
        for _ in range(30):  # more in all than one head may have
            connection.send(HEAD + b"X: " + b"a" * 4000 + b"\r\n\r\n")
            answer = connection.answer()
            while not answer.endswith(b"}"):  # its head may come alone
                answer += connection.answer()
            assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("said", [b"", b"GET /healthz HT", HEAD])
def test_a_connection_that_says_nothing_more_is_closed(port: int, said: bytes) -> None:
    with Connection(port) as connection:
        connection.send(said)
        started = time.monotonic()
        assert connection.answer() == b""
        assert time.monotonic() - started < 10


def test_a_second_request_that_never_ends_is_closed_too(port: int) -> None:
    with Connection(port) as connection:
        connection.send(HEAD + b"\r\n")
        assert connection.answer().startswith(b"HTTP/1.1 200")
        connection.send(b"GET /heal")
        assert connection.answer() == b""


@pytest.mark.parametrize("header", [b"X: " + b"a" * 500_000, b"X: a\r\n" * 50_000])
def test_a_head_without_end_is_refused(port: int, header: bytes) -> None:
    with Connection(port) as connection:
        try:
            connection.send(HEAD + header)
            answer = connection.answer()
        except ConnectionError:  # closed before all of it was sent
            answer = b""
        assert not answer.startswith(b"HTTP/1.1 2")


def test_a_body_that_trickles_is_refused(port: int) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with Connection(port) as connection:
        connection.send(head + b"Content-Length: 100\r\n\r\n{")
        answer = connection.answer()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_too_slow" in answer


def test_a_client_that_leaves_in_the_middle_is_no_surprise(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with Connection(port) as connection:
        connection.send(head + b"Content-Length: 100\r\n\r\n{")
    with Connection(port) as connection:
        connection.send(HEAD + b"\r\n")
        assert connection.answer().startswith(b"HTTP/1.1 200")
    assert not caplog.records


def test_a_stream_that_nobody_reads_ends(app: FastAPI, port: int) -> None:
    async def flood() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    async def endless(request: Request) -> Stream:
        return Stream(flood(), services=app.state.services, request=request, media_type="text/plain")

    app.add_api_route("/flood", endless, response_model=None)
    places = app.state.services.streams._taken
    with Connection(port) as connection:
        connection.send(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(places.total)
        until(lambda: not places.total())
