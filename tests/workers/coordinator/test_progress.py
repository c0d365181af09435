"""How far a job is, counted from what its harness and its chunks say."""

from __future__ import annotations

from workers.coordinator.progress import Tally, percent


def tally() -> Tally:
    counted = Tally()
    counted.prepare({"a": 4, "b": 6})
    counted.plan(1000.0)
    return counted


def test_nothing_is_told_while_nothing_changed() -> None:
    counted = tally()
    assert counted.news() is None
    counted.set_done("a", 0)
    assert counted.news() is None


def test_what_changed_is_told_once() -> None:
    counted = tally()
    counted.set_done("a", 3)
    counted.add_chunks(gpu_seconds=1.5, tokens=100)
    news = counted.news()
    assert news
    progress, event, gpu_seconds = news
    assert (progress.done, progress.tasks, gpu_seconds) == (3, {"a": 3, "b": 0}, 1.5)
    assert (event["done"], event["total"], event["percent"]) == (3, 10, 30.0)
    assert counted.news() is None


def test_a_task_that_is_over_is_done_whole() -> None:
    counted = tally()
    counted.set_done("b")
    news = counted.news()
    assert news
    assert news[0].tasks == {"a": 0, "b": 6}


def test_all_of_nothing_is_all() -> None:
    assert percent(0, 0) == 100.0
