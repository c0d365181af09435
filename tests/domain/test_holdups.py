"""What keeps devices from jobs, as the rules of placement decide it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.domain.placement import Claim, Demand, Holdups, Policy, Start, holdups, place
from app.domain.replica import Replica
from tests.domain.test_placement import NOW, demand, engine, group, replica

BIG, SMALL, WORKS = (UUID(int=number) for number in (1, 2, 3))


def asked(
    job: UUID, turn: int, model: str, *, gpus: int = 1, team: str = "ours", cost: float = 1e5
) -> Demand:
    claim = Claim(job, team, "alice", 50, turn, cost)
    wide = demand(model, gpus=gpus)
    return replace(wide, turn=turn, waiting_cost=cost, speed=100.0, load_seconds=10.0, claims=(claim,))


def works(*devices: str, since: float = 3600.0) -> Replica:
    began = NOW - timedelta(seconds=since)
    return replace(replica(engine("works"), devices), serving_at=began, placed_at=began)


def test_free_devices_are_kept_for_who_is_ahead_and_needs_more_at_once() -> None:
    """The one at work has 50 s left, which the long job behind takes longer than."""
    line = [
        asked(WORKS, 0, "works", cost=5000.0),
        asked(BIG, 1, "big", gpus=4, team="theirs"),
        asked(SMALL, 2, "small"),
    ]
    found = holdups(NOW, [group("a", 4, held=2)], [works("a-0", "a-1", since=15)], line, Policy())
    kept = found.kept[SMALL]
    assert (kept.job, kept.team, kept.need, kept.devices) == (BIG, "theirs", 4, 2)
    assert kept.until == NOW + timedelta(seconds=50)
    assert BIG not in found.kept
    short = [*line[:2], asked(SMALL, 2, "small", cost=1000.0)]
    assert (
        holdups(NOW, [group("a", 4, held=2)], [works("a-0", "a-1", since=15)], short, Policy()) == Holdups()
    )


def test_a_quota_holds_back_who_would_have_devices_without() -> None:
    line = [asked(SMALL, 0, "small"), asked(BIG, 1, "big", team="theirs")]
    found = holdups(NOW, [group("a", 1)], [], line, Policy(quotas={"theirs": 1}))
    assert found.quota == {SMALL}
    alone = holdups(NOW, [group("a", 1, held=1)], [], line, Policy(quotas={"ours": 1}))
    assert alone.quota == frozenset(), "nobody has the device by a quota"


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["ours", "theirs"])), max_size=5),
    st.integers(0, 6),
    st.dictionaries(st.sampled_from(["ours", "theirs"]), st.integers(0, 4)),
)
def test_the_quota_is_named_where_it_decides_and_nowhere_else(
    told: list[tuple[int, str]], devices: int, quotas: dict[str, int]
) -> None:
    line = [asked(UUID(int=n), n, f"m{n}", gpus=gpus, team=team) for n, (gpus, team) in enumerate(told)]
    there = [group("a", devices)]
    started = [
        {each.engine.key for each in place(NOW, there, [], line, policy) if isinstance(each, Start)}
        for policy in (Policy(quotas=quotas), Policy())
    ]
    held_back = {each.claims[0].job for each in line if each.engine.key in started[1] - started[0]}
    assert holdups(NOW, there, [], line, Policy(quotas=quotas)).quota == held_back
