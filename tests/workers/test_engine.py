"""An engine child, seen from its supervisor."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import text

from app.domain.chunk import MAX_INTERRUPTIONS
from app.settings import Settings
from tests.world import World
from workers.engine import Engine
from workers.frames import Frame, pack_requests


class Silence:
    """A child that is sent frames and says nothing; its worker is told to leave at the first look."""

    def __init__(self, stopping: threading.Event) -> None:
        self.sent: list[Frame] = []
        self._stopping = stopping

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    def receive(self, timeout_seconds: float) -> Frame:
        self._stopping.set()
        raise TimeoutError(timeout_seconds)


def test_a_chunk_that_takes_workers_along_is_not_sent_to_another(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    world.running(chunks=1)
    with world.sessions.begin() as session:
        values = {"payload": pack_requests([[[1], [2]], [[1], [3]]]), "count": MAX_INTERRUPTIONS}
        session.execute(text("UPDATE chunks SET payload = :payload, interruptions = :count"), values)
    lease = world.replica(world.devices(1)[0])
    (state,) = world.groups.all()
    stopping = threading.Event()
    connection = Silence(stopping)
    engine = Engine(
        serving=world.serving,
        settings=settings,
        stopping=stopping,
        lease=lease,
        replica=state.replicas[0],
        child=cast(Any, SimpleNamespace(connection=connection)),
        heartbeat=cast(Any, SimpleNamespace(lost=False, reply=None)),
        log_path=tmp_path / "engine.log",
        device="cpu",
        driver={},
    )
    engine.serve()
    assert connection.sent == []
    with world.sessions.begin() as session:
        counts = session.execute(text("SELECT status, failures, interruptions FROM chunks")).one()
    assert tuple(counts) == ("waiting", 1, 0)
