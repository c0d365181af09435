"""Events of all jobs in one order: nothing is skipped and nothing told twice, however writers commit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db.events import EventRepository
from app.db.session import Sessions
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter
from app.services import events
from app.services.events import EventService
from tests.world import World

SERIALS = text("SELECT serial FROM job_events ORDER BY serial")


@pytest.fixture
def service(sessions: Sessions) -> EventService:
    return EventService(sessions=sessions)


@contextmanager
def writing(sessions: Sessions, job_id: UUID) -> Iterator[Session]:
    """A transaction that has written an event and is still open."""
    with sessions.begin() as session:
        EventRepository(session).append(job_id, "job.progress", {})
        yield session


def read_on(service: EventService, position: int) -> tuple[list[int], int]:
    """The serials behind a position, and the next position."""
    seen, more = [], True
    while more:
        page = service.page(position, 3)
        seen += [event.serial for event in page.events]
        position, more = page.position, page.more
    return seen, position


def serials(sessions: Sessions) -> list[int]:
    with sessions.begin() as session:
        return list(session.scalars(SERIALS))


def test_readers_wait_for_a_writer_that_drew_its_serial_before(
    world: World, sessions: Sessions, service: EventService
) -> None:
    one, other = world.submit(), world.submit()
    seen, position = read_on(service, 0)
    with writing(sessions, one):
        with writing(sessions, other):
            assert read_on(service, position) == ([], position)
        assert read_on(service, position) == ([], position), "the later one is there, the earlier one is not"
    later, _ = read_on(service, position)
    assert seen + later == serials(sessions)
    assert len(later) == 2


def test_a_writer_that_gives_up_leaves_a_gap_that_nobody_waits_at(
    world: World, sessions: Sessions, service: EventService
) -> None:
    job_id = world.submit()
    position = service.position()
    with pytest.raises(RuntimeError), writing(sessions, job_id):
        raise RuntimeError("dies")
    with sessions.begin() as session:
        savepoint = session.begin_nested()
        EventRepository(session).append(job_id, "job.progress", {})
        savepoint.rollback()
        EventRepository(session).append(job_id, "job.warning", {})
    (event,) = service.page(position, 10).events
    assert (event.serial, event.event.type) == (position + 3, "job.warning")


def test_who_writes_other_tables_holds_no_reader_up(
    world: World, sessions: Sessions, service: EventService
) -> None:
    one, other = world.submit(), world.submit()
    _, position = read_on(service, 0)
    with sessions.begin() as frozen:
        frozen.execute(text("UPDATE jobs SET name = 'x' WHERE id = :id"), {"id": one})
        frozen.execute(text("SELECT pg_advisory_xact_lock_shared(1), pg_advisory_xact_lock_shared(7, 1)"))
        with writing(sessions, other):
            pass
        assert read_on(service, position) == ([position + 1], position + 1)


@pytest.mark.parametrize("start", [0, 2**31 - 20, 2**40 - 20])
def test_every_reader_sees_every_event_once_and_in_one_order(
    world: World, sessions: Sessions, service: EventService, start: int
) -> None:
    jobs = [world.submit() for _ in range(6)]
    with sessions.begin() as session:
        session.execute(text("SELECT setval('job_event_serials', :start)"), {"start": start or 6})
    began = service.position()
    stop = threading.Event()

    def write(seed: int) -> None:
        rng = Random(seed)
        for _ in range(40):
            with sessions.begin() as session:
                for _ in range(rng.randrange(1, 4)):
                    EventRepository(session).append(jobs[seed], "job.progress", {})
                    stop.wait(rng.random() / 500)
                if not rng.randrange(8):
                    session.rollback()

    def read(found: list[int]) -> None:
        position, last = began, False
        while not last:
            last = stop.is_set()
            seen, position = read_on(service, position)
            found += seen

    found: list[list[int]] = [[], [], []]
    readers = [threading.Thread(target=read, args=(each,)) for each in found]
    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    written = [serial for serial in serials(sessions) if serial > began]
    assert len(written) > 200
    assert found == [written] * 3


def test_a_position_of_another_database_is_taken_for_the_present_one(
    world: World, service: EventService
) -> None:
    world.submit()
    now = service.position()
    for known in (0, 2**40):
        page = service.page(2**40, 10, known=known)
        assert (list(page.events), page.position, page.more) == ([], now, False)


def test_a_page_ends_where_few_jobs_pass_the_filter(
    world: World, sessions: Sessions, service: EventService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_SCANNED", 2)
    world.jobs.delete(world.jobs.cancel(world.submit()).id)
    for _ in range(4):
        world.submit()
    mine = world.submit(owner="bob")
    page, pages = service.page(0, 10, JobFilter(owner="bob")), 1
    assert (list(page.events), page.position) == ([], 4), (
        "from the first one there is, as far as is looked at"
    )
    while page.more:
        page, pages = service.page(page.position, 10, JobFilter(owner="bob")), pages + 1
        found = [event.job.id for event in page.events]
    assert (found, pages) == ([mine], 3)


FILTERS: list[dict[str, Any]] = [
    {"status": "queued"},
    {"status": "cancelled"},
    {"owner": "bob"},
    {"team": "default"},
    {"team": "red"},
    {"model": "TINY"},
    {"model": "%"},
    {"task": "toy"},
    {"task": "to"},
    {"tag": "night"},
    {"tag": "nigh"},
    {"name": "one"},
    {"live": True},
    {"owner": "alice", "tag": "night", "task": "toy"},
    {"owner": "alice", "tag": "day"},
    {},
]


def test_a_filter_means_the_same_in_memory_as_in_the_database(world: World, service: EventService) -> None:
    world.submit(name="one", tags=["night", "b"])
    other = world.submit(owner="bob")
    world.jobs.cancel(other)
    asked = [each["task"] for each in FILTERS if "task" in each]
    everything = service.page(0, 10, tasks=asked).events
    first, last = everything[0].job.created_at, everything[-1].job.created_at
    assert {event.job.status for event in everything} == {JobStatus.QUEUED, JobStatus.CANCELLED}
    times = [{"created_after": first}, {"created_after": last}]
    ids: dict[str, Any] = {"ids": (other, other)}
    passed = []
    for wanted in (JobFilter(**each) for each in [*FILTERS, *times, ids]):
        found = [event.serial for event in service.page(0, 10, wanted).events]
        assert found == [event.serial for event in everything if wanted.matches(event.job)], wanted
        passed.append(len(found))
    assert set(passed) == {0, 1, 2, 3}
