from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

import pytest
import redis

from app.single_host.processes import Process
from app.single_host.stopping import StopRequest
from app.single_host.valkey import Valkey


def valkey(tmp_path: Path) -> Valkey:
    return Valkey(folder=tmp_path / "valkey", log=tmp_path / "valkey.log", stop=StopRequest())


@contextmanager
def running(server: Valkey) -> Iterator[Process]:
    process = server.launch()
    try:
        server.await_ready(process)
        yield process
    finally:
        process.send_signal(server.stop_signal)
        process.wait(30)


def test_it_answers_those_who_know_the_password(tmp_path: Path) -> None:
    server = valkey(tmp_path)
    with running(server) as process:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        place = urlsplit(server.url)
        stranger = redis.Redis(host=str(place.hostname), port=place.port or 0)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    assert process.returncode == 0
    for secret in ("password", "valkey.conf"):
        assert (tmp_path / "valkey" / secret).stat().st_mode & 0o077 == 0


def test_its_address_stays_the_same(tmp_path: Path) -> None:
    assert valkey(tmp_path).url == valkey(tmp_path).url


def test_it_moves_where_somebody_has_taken_its_port(tmp_path: Path) -> None:
    old = urlsplit(valkey(tmp_path).url).port
    with socket() as other:
        other.bind(("127.0.0.1", old or 0))
        other.listen()
        server = valkey(tmp_path)
        assert urlsplit(server.url).port != old
        with running(server):
            pass
