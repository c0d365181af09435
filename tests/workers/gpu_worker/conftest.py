"""Replicas whose engines a test plays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from app.db import outages
from app.settings import Settings
from tests.workers.gpu_worker.peer import Feeding
from tests.world import World
from workers.gpu_worker import feed


class Feeds(Protocol):
    """Begins to feed a replica on the next free device."""

    def __call__(self, *, serving: Any = None, **settings: Any) -> Feeding: ...


@pytest.fixture
def feeding(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feeds]:
    """Feeds with short pauses; whatever is not over at the end of the test loses its lease."""
    monkeypatch.setattr(outages, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0.0)
    devices = iter(world.devices(6))
    with ExitStack() as stack:

        def begin(*, serving: Any = None, **changes: Any) -> Feeding:
            quick = settings.model_copy(update={"poll_seconds": 0.02, "stall_seconds": 60.0} | changes)
            return stack.enter_context(Feeding(world, quick, next(devices), serving))

        yield begin
