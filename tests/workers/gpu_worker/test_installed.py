"""What a worker tells of the backends on its host, and when it looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from app.backends import BACKENDS, Backend
from app.backends.tolerances import keep
from app.domain.group import BackendReport
from app.settings import Settings
from tests.domain.test_tolerance import FOUND
from tests.waiting import until
from workers.gpu_worker.installed import AGAIN_SECONDS, READ_SECONDS, InstalledBackends


class Looks:
    """Answers for backends; a look at one that is held ends when it is let go."""

    def __init__(self) -> None:
        self.problems: dict[str, str | None] = {}
        self.asked: list[str] = []
        self.now = 0.0
        self.let_go = threading.Event()
        self.held: set[str] = set()

    def __call__(self, name: str) -> BackendReport:
        self.asked.append(name)
        if name in self.held:
            assert self.let_go.wait(20)
        return BackendReport(name, problem=self.problems.get(name))

    def clock(self) -> float:
        return self.now


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def shelf(settings: Settings, looks: Looks) -> Iterator[InstalledBackends]:
    kept = dict(BACKENDS)
    _replace(
        {
            "good": Backend("good", ()),
            "bad": Backend("bad", ()),
            "for-gpus": Backend("for-gpus", (), devices=frozenset({"cuda"})),
        }
    )
    looks.problems["bad"] = "no GPU"
    yield InstalledBackends(settings, "cpu", look=looks, clock=looks.clock)
    _replace(kept)


def _replace(backends: Mapping[str, Backend]) -> None:
    """In an order of their own, which counts: entries put back one by one would stand behind."""
    BACKENDS.clear()
    BACKENDS.update(backends)


def test_the_first_call_knows_all_and_later_ones_look_no_more(shelf: InstalledBackends, looks: Looks) -> None:
    told = [BackendReport("bad", problem="no GPU"), BackendReport("good")]
    assert shelf.reports() == told
    looks.now = AGAIN_SECONDS - 1
    assert shelf.reports() == told
    assert looks.asked == ["bad", "good"]


def test_what_is_measured_meanwhile_is_told_without_another_look(
    settings: Settings, shelf: InstalledBackends, looks: Looks, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"cache_dir": tmp_path})
    shelf = InstalledBackends(settings, "cpu", ["this CPU"], look=looks, clock=looks.clock)
    shelf.reports()
    found = replace(FOUND, backend="good", device="this CPU", versions={})
    keep(found, settings.cache_dir)
    keep(replace(found, device="another", model="other"), settings.cache_dir)
    looks.now = READ_SECONDS - 1
    assert shelf.reports()[1] == BackendReport("good"), "a slow folder is not read at every call"
    looks.now = READ_SECONDS
    assert shelf.reports()[1] == BackendReport("good", tolerances=(found,))
    assert looks.asked == ["bad", "good"]


def test_what_did_not_work_is_looked_at_again_and_nothing_else(
    shelf: InstalledBackends, looks: Looks
) -> None:
    shelf.reports()
    looks.problems.clear()
    looks.now = AGAIN_SECONDS
    until(lambda: BackendReport("bad") in shelf.reports())
    assert looks.asked == ["bad", "good", "bad"]


def test_what_comes_later_is_looked_at_aside_and_what_goes_is_told_no_more(
    shelf: InstalledBackends, looks: Looks
) -> None:
    shelf.reports()
    looks.held.add("new")
    BACKENDS["new"] = Backend("new", ())
    assert BackendReport("new") not in shelf.reports()  # and does not wait
    assert BackendReport("new") not in shelf.reports()
    looks.let_go.set()
    until(lambda: BackendReport("new") in shelf.reports())
    assert looks.asked.count("new") == 1
    del BACKENDS["good"]
    assert BackendReport("good") not in shelf.reports()
