from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.workers.coordinator.peers import Engine, Try, a_try
from tests.world import World
from workers.coordinator import relay


@pytest.fixture(autouse=True)
def _looks_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LOOK_SECONDS", 0.0)


@pytest.fixture
def one(world: World, settings: Settings, tmp_path: Path) -> Iterator[Try]:
    """One try at a job."""
    with a_try(world, settings, tmp_path, patience=60.0) as made:
        yield made


@pytest.fixture
def hasty(world: World, settings: Settings, tmp_path: Path) -> Iterator[Try]:
    """One of a coordinator that waits for nobody."""
    with a_try(world, settings, tmp_path, patience=0.2) as made:
        yield made


@pytest.fixture
def engine(world: World) -> Engine:
    """A replica that takes chunks of the job."""
    return Engine(world)
