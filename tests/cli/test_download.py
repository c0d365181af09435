"""A job's files as one zip, whole or not at all."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job_id, problem

ID = job_id(1)
BYTES = b"PK\x00\xff" * 100_000


@pytest.fixture
def here(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, beside a service that has the job's files."""
    api.answers[f"GET /v1/jobs/{ID}/artifacts.zip"] = (200, BYTES)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_files_come_here_under_the_jobs_id(evalq: Evalq, here: Path) -> None:
    assert evalq("download", ID).stdout == f"{ID}.zip\n"
    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [(f"{ID}.zip", BYTES)]


@pytest.mark.parametrize(("target", "place"), [(".", f"{ID}.zip"), ("a.zip", "a.zip")])
def test_they_come_to_where_they_should(evalq: Evalq, here: Path, target: str, place: str) -> None:
    answer = evalq("download", ID, "-o", target, "--json")
    assert json.loads(answer.stdout) == {"id": ID, "path": place, "bytes": len(BYTES)}
    assert (here / place).read_bytes() == BYTES


def test_they_can_be_sent_on(evalq: Evalq, here: Path) -> None:
    assert evalq("download", ID, "-o", "-").stdout_bytes == BYTES


def test_what_is_there_stays_unless_it_is_to_be_replaced(evalq: Evalq, here: Path) -> None:
    (here / "a.zip").write_text("mine")
    assert evalq("download", ID, "-o", "a.zip").exit_code == 2
    assert (here / "a.zip").read_text() == "mine"
    assert evalq("download", ID, "-o", "a.zip", "--force").exit_code == 0
    assert (here / "a.zip").read_bytes() == BYTES


@pytest.mark.parametrize("target", ["missing/a.zip", "file/a.zip", "x" * 300])
def test_where_nothing_can_be_written_is_named(evalq: Evalq, here: Path, target: str) -> None:
    (here / "file").touch()
    answer = evalq("download", ID, "-o", target)
    assert (answer.exit_code, "cannot be written" in answer.stderr) == (1, True)
    assert [path.name for path in here.iterdir()] == ["file"]


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_pipe_is_written_to_and_stays_one(
    evalq: Evalq, api: FakeApi, here: Path, options: tuple[str, ...]
) -> None:
    api.answers[f"GET /v1/jobs/{ID}/artifacts.zip"] = (200, b"PK")
    os.mkfifo(here / "pipe")
    reading = os.open(here / "pipe", os.O_RDWR | os.O_NONBLOCK)
    assert evalq("download", ID, "-o", "pipe", *options).exit_code == 0
    assert os.read(reading, 10) == b"PK"
    os.close(reading)
    assert (here / "pipe").is_fifo()


def test_a_link_to_a_file_stays_one(evalq: Evalq, here: Path) -> None:
    (here / "real").touch()
    (here / "link").symlink_to("real")
    assert evalq("download", ID, "-o", "link", "--force").exit_code == 0
    assert ((here / "real").read_bytes(), (here / "link").is_symlink()) == (BYTES, True)


def test_a_job_without_results_leaves_no_file(evalq: Evalq, api: FakeApi, here: Path) -> None:
    api.answers[f"GET /v1/jobs/{ID}/artifacts.zip"] = (409, problem(409, "No results", "it is queued"))
    assert (evalq("download", ID).stderr, list(here.iterdir())) == ("evalq: it is queued\n", [])


@pytest.fixture
def broken() -> Iterator[str]:
    """A service that dies in the middle."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nPK\r\n")
            connection.close()

        thread = Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_what_breaks_off_is_not_kept(evalq: Evalq, here: Path, broken: str) -> None:
    (here / "a.zip").write_text("mine")
    answer = evalq("download", ID, "-o", "a.zip", "--force", "--url", broken)
    assert (answer.exit_code, "lost the connection" in answer.stderr) == (1, True)
    assert [(path.name, path.read_text()) for path in here.iterdir()] == [("a.zip", "mine")]
