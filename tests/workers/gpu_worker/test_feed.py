"""An engine child, seen from its supervisor."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from app.domain.chunk import MAX_INTERRUPTIONS
from app.domain.lease import Lease
from app.settings import Settings
from tests.world import World
from workers.gpu_worker.feed import Engine, EngineError
from workers.protocol.engine import TO_ENGINE, AnswerChunk, Answered, ChunkFailed, Raised, ToEngine
from workers.protocol.frames import Frame
from workers.protocol.messages import packed
from workers.protocol.payload import pack_requests, pack_response


class Silence:
    """A child that is sent frames and says nothing; its worker is told to leave at the first look."""

    def __init__(self, stopping: threading.Event) -> None:
        self.sent: list[ToEngine] = []
        self._stopping = stopping

    def send(self, frame: Frame) -> None:
        self.sent.append(TO_ENGINE.opened(frame))

    def receive(self, timeout_seconds: float) -> Frame:
        self._stopping.set()
        raise TimeoutError(timeout_seconds)


def make_engine(
    world: World, settings: Settings, folder: Path, connection: object, stopping: threading.Event
) -> tuple[Engine, Lease]:
    """The supervisor of an engine whose end of the connection a test plays; it ends with exit code 1."""
    lease = world.replica(world.devices(1)[0])
    (state,) = world.groups.all()
    engine = Engine(
        serving=world.serving,
        settings=settings,
        stopping=stopping,
        lease=lease,
        replica=state.replicas[0],
        child=cast(Any, SimpleNamespace(connection=connection, wait=lambda _: 1, outgrew=None)),
        heartbeat=cast(Any, SimpleNamespace(lost=False, reply=None)),
        log_path=folder / "engine.log",
        device="cpu",
        driver={},
    )
    return engine, lease


def test_a_chunk_that_takes_workers_along_is_not_sent_to_another(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    world.running(chunks=1)
    with world.sessions.begin() as session:
        values = {"payload": pack_requests([[[1], [2]], [[1], [3]]]), "count": MAX_INTERRUPTIONS}
        session.execute(text("UPDATE chunks SET payload = :payload, interruptions = :count"), values)
    stopping = threading.Event()
    connection = Silence(stopping)
    engine, _ = make_engine(world, settings, tmp_path, connection, stopping)
    engine.serve()
    assert connection.sent == []
    with world.sessions.begin() as session:
        counts = session.execute(text("SELECT status, failures, interruptions FROM chunks")).one()
    assert tuple(counts) == ("waiting", 1, 0)


class Fatal(Silence):
    """A child that answers its first chunk, and does not survive the second one."""

    def __init__(self, stopping: threading.Event, log: Path) -> None:
        super().__init__(stopping)
        self._log = log
        self._said = 0

    def receive(self, timeout_seconds: float) -> Frame:
        chunk = self.sent[self._said]
        assert isinstance(chunk, AnswerChunk)
        said = ("fine\n", "ValueError: cannot read 'a secret'\n")[self._said]
        with self._log.open("a") as file:
            file.write(said)
        end = self._log.stat().st_size
        self._said += 1
        if self._said == 1:
            responses = (pack_response("1"), pack_response("2"))
            return packed(Answered(chunk.chunk, responses, 1e-4, 2, 1, end))
        error = Raised("ValueError", "cannot read 'a secret'", "")
        return packed(ChunkFailed(chunk.chunk, error, fatal=True, log_end=end))


def test_the_chunk_that_an_engine_did_not_survive_takes_the_blame_and_its_job_the_words(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    jobs = [world.running(chunks=1).id for _ in range(3)]
    with world.sessions.begin() as session:
        session.execute(
            text("UPDATE chunks SET payload = :payload"), {"payload": pack_requests([[[1], [2]]] * 2)}
        )
    stopping = threading.Event()
    connection = Fatal(stopping, tmp_path / "engine.log")
    engine, replica = make_engine(world, settings, tmp_path, connection, stopping)
    world.serving.loaded(replica, {})
    engine._log.loaded()
    engine._speed.learn(1e6, 1.0)
    with pytest.raises(EngineError) as raised:
        engine.serve()
    engine.close_log()

    assert len(connection.sent) == 3, "all in its hands"
    assert raised.value.failure.job_id == jobs[1]
    assert raised.value.failure.log_tail == ("ValueError: cannot read 'a secret'",)
    logs = [piece.text for job in jobs for piece in world.results.logs(job, seen={}).pieces]
    assert logs == ["fine\n", "ValueError: cannot read 'a secret'\n"]
    with world.sessions.begin() as session:
        query = "SELECT status, failures, interruptions FROM chunks ORDER BY job_id"
        counts = [tuple(row) for row in session.execute(text(query))]
    assert counts == [("answered", 0, 0), ("waiting", 1, 0), ("claimed", 0, 0)]


class Gone(Silence):
    """A child that has ended without a word."""

    def receive(self, timeout_seconds: float) -> None:  # type: ignore[override]
        return None

    def limit_silence(self, seconds: float) -> None:
        pass


def test_an_engine_that_passed_its_bounds_wants_memory(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    stopping = threading.Event()
    engine, _ = make_engine(world, settings, tmp_path, Gone(stopping), stopping)
    cast(Any, engine)._child.outgrew = "held 9.0 GiB of memory, more than the 8.0 GiB that one child may hold"
    with pytest.raises(EngineError, match="the engine held 9") as raised:
        engine.load()
    assert raised.value.failure.code == "host_out_of_memory"
    assert "EVALQ_ENGINE_MEMORY_SHARE" in (raised.value.failure.hint or "")
