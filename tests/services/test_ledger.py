"""Every device second of a lease is charged once, whatever becomes of the replica."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app.db.ledger import LedgerRepository
from app.domain.chunk import Room
from app.domain.failure import Failure, FailureCode
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus
from app.errors import LeaseLostError
from app.services.serving import Answer, Claimed
from tests.world import ENGINE, World

FAILURE = Failure(FailureCode.ENGINE_DIED, "it died")
ROOM = Room(1e9, 64, empty=True)


def pass_(world: World, replica: Lease, minutes: float) -> None:
    """So much time goes by for the replica; the test itself takes none worth telling."""
    moved = ", ".join(
        f"{column} = {column} - make_interval(secs => 60 * :minutes)"
        for column in ("claimed_at", "accounted_at", "serving_at", "idle_since")
    )
    with world.sessions.begin() as session:
        statement = f"UPDATE replicas SET {moved} WHERE id = :id"  # noqa: S608
        session.execute(text(statement), {"id": replica.id, "minutes": minutes})


def charged(world: World) -> dict[str, float]:
    """Device minutes by outcome and owner, booked or not."""
    query = """SELECT outcome, owner, sum(seconds) AS seconds FROM (SELECT outcome, owner, seconds FROM usage
        UNION ALL SELECT outcome, owner, seconds FROM charges) AS all_of_it GROUP BY 1, 2"""
    with world.sessions.begin() as session:
        rows = session.execute(text(query)).all()
    return {f"{row.outcome} {row.owner}".strip(): round(row.seconds / 60) for row in rows if row.seconds > 30}


def unaccounted(world: World) -> float:
    """Device seconds of leases that are charged to nobody, or twice."""
    query = """SELECT sum(seconds) FROM (
          SELECT extract(epoch FROM accounted_at - claimed_at) * cardinality(devices) AS seconds FROM replicas
          UNION ALL SELECT -seconds FROM usage UNION ALL SELECT -seconds FROM charges) AS all_of_it"""
    with world.sessions.begin() as session:
        return float(session.scalar(text(query)) or 0)


def serving(world: World, count: int = 1) -> Lease:
    """A replica that loaded for 20 minutes."""
    replica = loading(world, count)
    world.serving.loaded(replica, {})
    return replica


def loading(world: World, count: int = 1) -> Lease:
    """A replica that loads for 20 minutes already."""
    claimed = world.serving.claim(world.placed(*world.devices(count)), "worker")
    assert claimed
    pass_(world, claimed[0], 20)
    return claimed[0]


def claim(world: World, replica: Lease) -> list[Claimed]:
    return list(world.serving.next(replica, ENGINE.key, ROOM).chunks)


def answer(world: World, replica: Lease, claimed: Claimed, minutes: float) -> None:
    world.serving.answer(replica, claimed, Answer([b"a", b"b"], 60 * minutes, 1))


def test_loading_idling_and_answering_are_told_apart(world: World) -> None:
    replica = serving(world, count=2)
    pass_(world, replica, 30)
    world.running(chunks=1)
    (claimed,) = claim(world, replica)
    pass_(world, replica, 7)
    answer(world, replica, claimed, 5)
    assert charged(world) == {"loading": 40, "idle": 2 * (30 + 2), "useful alice": 10}
    assert abs(unaccounted(world)) < 1e-3


def test_what_idles_for_long_is_charged_while_it_does(world: World) -> None:
    replica = serving(world)
    assert claim(world, replica) == []
    for _ in range(3):
        pass_(world, replica, 10)
        world.serving.renew(replica)
    assert charged(world) == {"loading": 20, "idle": 30}
    world.running(chunks=1)
    claim(world, replica)
    pass_(world, replica, 10)
    world.serving.renew(replica)
    assert charged(world) == {"loading": 20, "idle": 30}, "of what it works on nobody knows what becomes"


def test_each_owner_pays_for_his_own_on_a_shared_engine(world: World) -> None:
    replica = serving(world)
    world.running(chunks=1)
    world.running(chunks=1, owner="bob")
    first, second = claim(world, replica)
    pass_(world, replica, 4)
    answer(world, replica, first, 4)
    pass_(world, replica, 6)
    answer(world, replica, second, 6)
    assert charged(world) == {"loading": 20, "useful alice": 4, "useful bob": 6}


def lost(world: World, replica: Lease) -> None:
    world.expire(replica)
    world.scheduling.expire_once()


def died(world: World, replica: Lease) -> None:
    world.serving.end(replica, ReplicaStatus.FAILED, FAILURE)


def released(world: World, replica: Lease) -> None:
    world.serving.end(replica, ReplicaStatus.RELEASED)


def restarted(world: World, _: Lease) -> None:
    world.serving.release_holders(["worker"])


ENDS: Mapping[str, Callable[[World, Lease], None]] = {
    end.__name__: end for end in (lost, died, released, restarted)
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_was_in_hand_at_the_end_failed(world: World, end: Callable[[World, Lease], None]) -> None:
    replica = serving(world)
    world.running(chunks=2)
    claim(world, replica)
    pass_(world, replica, 9)
    end(world, replica)
    assert charged(world) == {"loading": 20, "failed alice": 9}
    assert abs(unaccounted(world)) < 1e-3
    with world.sessions.begin() as session:
        assert session.scalar(text("SELECT accounted_at = ended_at FROM replicas"))


@pytest.mark.parametrize(
    ("end", "outcome"),
    [(lost, "failed"), (died, "failed"), (released, "loading"), (restarted, "failed")],
    ids=ENDS,
)
def test_a_load_that_came_to_nothing_failed_unless_it_was_called_off(
    world: World, end: Callable[[World, Lease], None], outcome: str
) -> None:
    replica = loading(world)
    world.serving.renew(replica)
    end(world, replica)
    assert charged(world) == {outcome: 20}


def test_an_idle_replica_that_is_lost_was_idle(world: World) -> None:
    replica = serving(world)
    pass_(world, replica, 9)
    lost(world, replica)
    assert charged(world) == {"loading": 20, "idle": 9}


def test_a_chunk_that_fails_is_paid_for_by_its_owner(world: World) -> None:
    replica = serving(world)
    world.running(chunks=1)
    (claimed,) = claim(world, replica)
    pass_(world, replica, 3)
    world.fail(replica, claimed.chunk, FAILURE)
    assert charged(world) == {"loading": 20, "failed alice": 3}


def test_work_that_is_called_off_failed_if_the_engine_was_at_it(world: World) -> None:
    replica = serving(world)
    job = world.running(chunks=1)
    world.running(chunks=1, owner="bob")
    first, second = claim(world, replica)
    pass_(world, replica, 3)
    world.jobs.cancel(job.id)
    assert world.serving.wanted(replica, [second.chunk.id, first.chunk.id]) == {second.chunk.id}
    assert charged(world) == {"loading": 20}, "it was at the other one"
    world.jobs.cancel(second.chunk.job_id)
    assert world.serving.wanted(replica, [second.chunk.id]) == frozenset()
    assert charged(world) == {"loading": 20, "failed bob": 3}


def test_a_chunk_that_is_gone_with_its_job_was_for_nobody(world: World) -> None:
    replica = serving(world)
    world.running(chunks=1)
    (claimed,) = claim(world, replica)
    pass_(world, replica, 3)
    with world.sessions.begin() as session:
        session.execute(text("DELETE FROM jobs"))
    assert world.serving.wanted(replica, [claimed.chunk.id]) == frozenset()
    assert charged(world) == {"loading": 20, "failed": 3}


def test_who_lost_the_lease_charges_nothing(world: World) -> None:
    replica = serving(world)
    world.running(chunks=1)
    (claimed,) = claim(world, replica)
    pass_(world, replica, 9)
    lost(world, replica)
    before = charged(world)
    for call in (lambda: world.serving.renew(replica), lambda: answer(world, replica, claimed, 9)):
        with pytest.raises(LeaseLostError):
            call()
    assert charged(world) == before


def test_a_replica_from_before_the_ledger_is_charged_from_its_claim(world: World) -> None:
    replica = loading(world)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE replicas SET accounted_at = NULL"))
    world.serving.loaded(replica, {})
    assert charged(world) == {"loading": 20}


def test_a_replica_that_nobody_claimed_is_charged_nothing(world: World) -> None:
    world.placed(*world.devices(1))
    with world.sessions.begin() as session:
        session.execute(text("UPDATE replicas SET sends = 4, sent_at = now() - interval '1 day'"))
    assert world.scheduling.expire_once()
    assert charged(world) == {}


def test_charges_are_booked_once_and_those_being_written_later(world: World) -> None:
    replica = serving(world)
    assert world.scheduling.book_once() > 0
    assert world.scheduling.book_once() == 0
    pass_(world, replica, 5)
    with world.sessions.begin() as session, ThreadPoolExecutor(1) as pool:
        LedgerRepository(session).idle(replica.id)
        assert pool.submit(world.scheduling.book_once).result(timeout=20) == 0
    assert world.scheduling.book_once() > 0
    assert charged(world) == {"loading": 20, "idle": 5}
