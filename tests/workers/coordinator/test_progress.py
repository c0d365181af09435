"""How far a job is, counted from what its harness and its chunks say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from app.domain.headway import Headway
from app.domain.ids import uuid7
from app.domain.replica import Replica, ReplicaStatus
from app.domain.whereabouts import Engines
from tests.world import ENGINE
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


ONE, OTHER = (Replica(uuid7(), "a", ENGINE, ReplicaStatus.FAILED, (), datetime.now(UTC)) for _ in range(2))


def ahead(uncollected: int = 0, dead: Sequence[Replica] = (), **requests: int) -> Engines:
    """Engines that are so many requests ahead of what they stored, by name."""
    named = {"one": ONE, "other": OTHER}
    headway = {named[name].id: Headway(count, 10.0 * count) for name, count in requests.items()}
    return Engines(headway=headway, uncollected=uncollected, dead=dead)


def shown(counted: Tally) -> int:
    news = counted.news()
    assert news
    assert news[0].done == news[1]["done"]
    return news[0].done


def test_requests_count_before_their_chunk_is_answered() -> None:
    counted = tally()
    counted.look(ahead(one=3))
    news = counted.news()
    assert news
    assert (news[1]["done"], news[1]["percent"], news[1]["tasks"]) == (3, 30.0, {"a": 0, "b": 0})
    assert news[0].moved
    counted.look(ahead(one=3))
    assert counted.news() is None, "nothing new"


def test_tokens_of_a_request_that_is_not_answered_yet_are_news() -> None:
    counted = tally()
    counted.look(Engines(headway={ONE.id: Headway(0, 1.0)}))
    assert shown(counted) == 0
    counted.look(Engines(headway={ONE.id: Headway(0, 2.0)}))
    news = counted.news()
    assert news
    assert news[0].moved


def test_a_request_is_counted_once_on_its_way_to_the_harness() -> None:
    counted, seen = tally(), []
    way: list[tuple[int, dict[str, int], Engines]] = [
        (0, {}, ahead(one=3)),
        (0, {}, ahead(uncollected=4)),
        (4, {}, ahead()),
        (0, {"a": 2}, ahead()),
        (0, {"a": 4}, ahead()),
        (0, {"b": 1}, ahead(one=1)),
    ]
    for given, done, engines in way:
        if given:
            counted.add_chunks(1.0, 40.0)
            counted.give(given)
        for task, count in done.items():
            counted.set_done(task, count)
        counted.look(engines)
        news = counted.news()
        seen += [news[1]["done"]] if news else []
    assert seen == [3, 4, 4, 4, 4, 6]


def test_no_more_is_shown_than_there_is() -> None:
    counted = tally()
    counted.set_done("b", 6)
    counted.look(ahead(one=9))
    assert shown(counted) == 10


def test_a_chunk_that_failed_takes_nothing_back_while_its_engine_lives() -> None:
    counted = tally()
    counted.look(ahead(one=3))
    counted.look(ahead(one=0))
    news = counted.news()
    assert news
    assert (news[1]["done"], news[0].dead) == (3, ())
    counted.look(ahead(one=2, other=2))
    assert shown(counted) == 4


def test_what_is_shown_falls_to_what_is_stored_with_the_name_of_the_dead() -> None:
    counted = tally()
    counted.give(2)
    counted.look(ahead(one=3, other=2))
    assert shown(counted) == 7
    assert counted.counted_on == {ONE.id, OTHER.id}
    counted.look(ahead(other=2, dead=[ONE]))
    news = counted.news()
    assert news
    assert (news[1]["done"], news[0].dead, news[0].moved) == (4, (ONE,), False)
    counted.look(ahead(other=3))
    news = counted.news()
    assert news
    assert (news[1]["done"], news[0].dead) == (5, ())


def test_a_job_that_is_prepared_again_shows_what_it_had() -> None:
    counted = Tally(7)
    counted.prepare({"a": 4, "b": 6})
    counted.give(2)
    counted.set_done("a", 2)
    assert shown(counted) == 7
    counted.prepare({"a": 4})
    counted.set_done("a", 3)
    assert shown(counted) == 4, "a task was given up"


def test_all_of_nothing_is_all() -> None:
    assert percent(0, 0) == 100.0
