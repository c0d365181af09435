"""The keeper of a group goes on whatever happens to one of its turns."""

from __future__ import annotations

import threading

import pytest

from app.settings import Settings
from tests.waiting import until
from tests.world import World
from workers.devices import GroupDevices, GroupKeeper


def test_a_keeper_survives_what_nobody_thought_of(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = GroupDevices(settings.model_copy(update={"worker_group": "a", "worker_devices": "cpu:1"}))
    keeper = GroupKeeper(
        groups=world.groups,
        serving=world.serving,
        devices=devices,
        interval_seconds=0.01,
        leaving=threading.Event(),
    )
    turns: list[str] = []

    def backends() -> list[str]:
        turns.append("asked")
        if len(turns) == 1:
            raise RuntimeError("a folder that cannot be read")
        return ["hf"]

    monkeypatch.setattr(devices, "backends", backends)
    stop = threading.Event()
    keeping = threading.Thread(target=keeper.run, args=(stop,))
    keeping.start()
    try:
        until(lambda: len(turns) > 2)
        assert keeping.is_alive()
    finally:
        stop.set()
        keeping.join()
