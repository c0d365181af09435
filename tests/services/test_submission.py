"""What a job is checked against: what there is, or was a moment ago."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete

from app.db.tables import DeviceRow, GroupRow
from app.errors import InvalidJobError
from app.services.submission import SubmissionService
from app.workloads.lm_eval.reading.read import Submission
from tests.workloads.lm_eval.reading.desk import Desk
from tests.world import World


class Counter:
    """Takes jobs for a group, and tells the time that a test says."""

    def __init__(self, world: World, root: Path) -> None:
        self.now = 0.0
        self._desk = Desk(root)
        self._service = SubmissionService(
            sessions=world.sessions, settings=self._desk.settings, kept_seconds=1.0, clock=lambda: self.now
        )

    def check(self, group: str, *, wait_for_capacity: bool = False) -> Submission:
        model = {"pretrained": str(self._desk.model)}
        body = {"model": "hf", "model_args": model, "tasks": ["ours"], "group": group}
        return self._service.check(body | {"wait_for_capacity": wait_for_capacity})


@pytest.fixture
def counter(world: World, tmp_path: Path) -> Counter:
    world.devices(1, "small")
    return Counter(world, tmp_path)


def test_a_group_that_has_just_come_is_known_at_once(world: World, counter: Counter) -> None:
    assert counter.check("small")
    with pytest.raises(InvalidJobError):
        counter.check("big")
    assert counter.check("big", wait_for_capacity=True).waits_for
    world.devices(1, "big")
    assert counter.check("big", wait_for_capacity=True).waits_for is None
    world.devices(1, "vast")
    assert counter.check("vast")


def test_what_there_is_is_not_read_for_every_job(world: World, counter: Counter) -> None:
    world.devices(1, "big")
    assert counter.check("big")
    with world.sessions.begin() as session:
        session.execute(delete(DeviceRow).where(DeviceRow.group_name == "big"))
        session.execute(delete(GroupRow).where(GroupRow.name == "big"))
    counter.now = 0.9
    assert counter.check("big")
    counter.now = 1.0
    with pytest.raises(InvalidJobError):
        counter.check("big")
